using AgileQuant.Engine;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>Shows a model that is being written, tensor by tensor: a bar on a terminal, lines otherwise.</summary>
internal static class TensorProgress
{
    public static async Task<T> ShowAsync<T>(CliIo io, string what, Func<IProgress<ModelProgress>, Task<T>> work)
    {
        if (!io.HasBars)
            return await work(new Lines(io.Note, what, TimeProvider.System));
        return await io.Error.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .StartAsync(async context => await work(new Bar(context.AddTask(Markup.Escape(what), maxValue: 1), what)));
    }

    private static string Describe(string what, ModelProgress at) => $"{what} tensor {at.Number} of {at.Count}: {at.Tensor}";

    /// <summary>A line for each tensor, but none in the first second and at most one a second: a small model needs none, a large one no thousand.</summary>
    internal sealed class Lines(Action<string> say, string what, TimeProvider clock) : IProgress<ModelProgress>
    {
        private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);
        private long _said = clock.GetTimestamp();
        private int _tensor;

        public void Report(ModelProgress value)
        {
            if (value.Number == _tensor || clock.GetElapsedTime(_said) < Pause)
                return;
            _tensor = value.Number;
            _said = clock.GetTimestamp();
            say($"{Describe(what, value)} ({value.Share * 100:0}%)");
        }
    }

    private sealed class Bar(ProgressTask task, string what) : IProgress<ModelProgress>
    {
        public void Report(ModelProgress value)
        {
            task.Value = value.Share;
            task.Description = Markup.Escape(Describe(what, value));
        }
    }
}
