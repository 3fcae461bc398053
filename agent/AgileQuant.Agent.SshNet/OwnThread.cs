namespace AgileQuant.Agent.SshNet;

/// <summary>Calls of SSH.NET that block go to a thread of their own: hundreds of boards that hang must not use up the pool's.</summary>
internal static class OwnThread
{
    public static Task<T> RunAsync<T>(Func<T> work) =>
        Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>Runs to its end sometime; nobody waits, and what it throws is of no interest.</summary>
    public static void Forget(Action work) => _ = EndAsync(work);

    /// <summary>The same for one who may want to wait a little.</summary>
    public static Task EndAsync(Action work) =>
        Task.Factory.StartNew(
            () =>
            {
                try
                {
                    work();
                }
                catch (Exception)
                {
                    // Ending what is broken already fails in many ways.
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
