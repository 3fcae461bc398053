using System.Text;
using AgileQuant.Agent.Protocol;

namespace AgileQuant.Agent.Tests.Protocol;

public sealed class JournalReaderTests
{
    private const string Journal =
        """
        {"seq":0,"ms":0,"event":"job","format":1,"attempt":"a-1","cluster":"c","epoch":3,"engine":"0.1.0","build":"b","isa":"avx2","threads":2,"boot_id":"x","unix_ms":1700000000000}
        {"seq":1,"ms":3,"event":"telemetry","cpu_mhz":[2596,null],"temp_c":{"x86_pkg_temp":41.5,"gone":null},"load1":0.4,"busy":0.98,"mem_available":123,"rss":7,"power_w":null,"battery_pct":null,"throttled":null,"new_field":[1,{"a":2}]}
        {"seq":2,"ms":9,"event":"block","block":0,"state":"started","pack":"fp16","kind":"prefill","load_ms":812}
        {"seq":3,"ms":9,"event":"sample","block":0,"index":1,"ns":123456789012,"tokens":512}
        {"seq":4,"ms":9,"event":"window","block":7,"window":3,"targets":255,"nll_sum":660.125}
        {"seq":5,"ms":9,"event":"from-the-future","x":1}
        {"seq":6,"ms":9,"event":"error","code":"model-corrupt","message":"älter","block":2}
        {"seq":7,"ms":9,"event":"sam
        {"seq":8,"ms":9,"event":"end","status":"done"}

        """;

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(64)]
    [InlineData(100_000)]
    public void Chunks_of_any_size_give_the_same_events(int chunkSize)
    {
        var bytes = Encoding.UTF8.GetBytes(Journal);
        var reader = new JournalReader();
        var entries = bytes.Chunk(chunkSize).SelectMany(c => reader.Append(c)).ToList();

        entries.Select(e => e.Event.GetType()).ShouldBe([
            typeof(JobEvent), typeof(TelemetryEvent), typeof(BlockEvent), typeof(SampleEvent), typeof(WindowEvent), typeof(UnknownEvent),
            typeof(ErrorEvent), typeof(UnknownEvent), typeof(EndEvent)]);
        reader.Offset.ShouldBe(bytes.Length);
        var job = (JobEvent)entries[0].Event;
        (job.Attempt, job.Epoch, job.BootId, job.UnixMs).ShouldBe(("a-1", 3, "x", 1700000000000));
        var telemetry = (TelemetryEvent)entries[1].Event;
        telemetry.CpuMhz.ShouldBe([2596, null]);
        telemetry.TempC!["x86_pkg_temp"].ShouldBe(41.5);
        telemetry.TempC["gone"].ShouldBeNull();
        telemetry.PowerW.ShouldBeNull();
        ((SampleEvent)entries[3].Event).Ns.ShouldBe(123456789012);
        ((WindowEvent)entries[4].Event).NllSum.ShouldBe(660.125);
        ((UnknownEvent)entries[5].Event).Name.ShouldBe("from-the-future");
        ((ErrorEvent)entries[6].Event).Message.ShouldBe("älter");
        ((UnknownEvent)entries[7].Event).Line.ShouldBe("{\"seq\":7,\"ms\":9,\"event\":\"sam");
    }

    [Fact]
    public void Going_on_from_any_events_offset_gives_exactly_the_rest()
    {
        var bytes = Encoding.UTF8.GetBytes(Journal);
        var all = new JournalReader().Append(bytes);
        for (var i = 0; i < all.Count; i++)
        {
            var rest = new JournalReader(all[i].NextOffset).Append(bytes.AsSpan((int)all[i].NextOffset));
            rest.Select(e => e.NextOffset).ShouldBe(all.Skip(i + 1).Select(e => e.NextOffset));
            rest.Select(e => e.Event.Seq).ShouldBe(all.Skip(i + 1).Select(e => e.Event.Seq));
        }
    }

    [Fact]
    public void A_line_that_is_not_whole_yet_is_neither_read_nor_counted()
    {
        var reader = new JournalReader(100);
        var line = "{\"seq\":1,\"event\":\"end\",\"status\":\"done\"}\n"u8;
        reader.Append(line[..^1]).ShouldBeEmpty();
        reader.Offset.ShouldBe(100);
        reader.Append(line[^1..]).ShouldHaveSingleItem().NextOffset.ShouldBe(100 + line.Length);
    }

    [Fact]
    public void A_line_without_end_is_bounded_and_does_not_shift_offsets()
    {
        var reader = new JournalReader();
        var line = new byte[JournalReader.MaxLineBytes * 2];
        Array.Fill(line, (byte)'x');
        reader.Append(line).ShouldBeEmpty();
        var entry = reader.Append("\n{\"event\":\"end\",\"status\":\"done\"}\n"u8);
        entry[0].Event.ShouldBeOfType<UnknownEvent>();
        entry[0].NextOffset.ShouldBe(line.Length + 1);
        entry[1].Event.ShouldBeOfType<EndEvent>();
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("{\"event\":5}")]
    [InlineData("{\"event\":\"sample\",\"ns\":\"text\"}")]
    [InlineData("{\"event\":\"sample\",\"ns\":null}")]
    public void What_is_no_event_is_surfaced_and_never_thrown(string line) =>
        ProtocolJson.ParseEvent(Encoding.UTF8.GetBytes(line)).ShouldBeOfType<UnknownEvent>().Line.ShouldBe(line);

    [Fact]
    public void A_result_of_a_newer_format_is_refused_in_words()
    {
        ProtocolJson.ParseResult("{\"format\":1,\"attempt\":\"a\",\"status\":\"done\",\"blocks\":[],\"later\":1}"u8).Status.ShouldBe("done");
        Should.Throw<ProtocolException>(() => ProtocolJson.ParseResult("{\"format\":2}"u8)).Message.ShouldContain("format 2");
        Should.Throw<ProtocolException>(() => ProtocolJson.ParseResult("{\"format\":1,"u8)).Message.ShouldContain("cannot be read");
    }
}
