using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AgileQuant.Host.Fuzz.Mutation;

/// <summary>Changes the meaning of a JSON document and leaves it JSON: other types, numbers at the edges, missing and strange members.</summary>
internal sealed class JsonMutator : IMutator
{
    private static readonly TextMutator Text = new();

    private static readonly string[] Values =
    [
        "null", "true", "false", "0", "-1", "1", "0.5", "-0.0", "1e308", "1e-320", "2147483647", "2147483648", "4294967295", "9007199254740993",
        "9223372036854775807", "18446744073709551615", "131072", "131073", "4194304", "\"\"", "\"llama\"", "\"a b\"", "\"\\ud800\"", "\"\\u0000\"", "\" \"", "[]", "{}", "[[]]",
        "[null]", "[1]", "[\"a\",\"b\"]", "[\"a\"]", "{\"type\":\"Sequence\"}", "{\"type\":null}",
    ];

    public byte[] Mutate(byte[] input, byte[] other, Random random)
    {
        if (random.Next(6) == 0 || Parse(input) is not { } root)
            return Text.Mutate(input, other, random);
        try
        {
            return Change(root, other, random);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or JsonException)
        {
            return Text.Mutate(input, other, random); // a name stands twice or it is too deep: JsonNode cannot hold that
        }
    }

    private static byte[] Change(JsonNode root, byte[] other, Random random)
    {
        var spots = new List<(JsonNode Parent, string? Name, int Index)>();
        Collect(root, spots, 0);
        if (spots.Count == 0)
            return Encoding.UTF8.GetBytes(Values[random.Next(Values.Length)]);
        var (parent, name, index) = spots[random.Next(spots.Count)];
        switch (random.Next(6))
        {
            case 0:
                Remove(parent, name, index);
                break;
            case 1 when parent is JsonObject members:
                var value = members[name!]?.DeepClone();
                members.Remove(name!);
                members[random.Next(3) == 0 ? "" : name + "x"] = value;
                break;
            case 2:
                var from = spots[random.Next(spots.Count)];
                Set(parent, name, index, Get(from.Parent, from.Name, from.Index)?.DeepClone());
                break;
            case 3 when parent is JsonArray items:
                for (var count = 1 << random.Next(8); count > 0 && items.Count < 2000; count--)
                    items.Insert(index, items[index]?.DeepClone());
                break;
            case 4 when Parse(other) is { } stranger:
                var theirs = new List<(JsonNode Parent, string? Name, int Index)>();
                Collect(stranger, theirs, 0);
                if (theirs.Count > 0)
                {
                    var take = theirs[random.Next(theirs.Count)];
                    Set(parent, name, index, Get(take.Parent, take.Name, take.Index)?.DeepClone());
                }

                break;
            default:
                Set(parent, name, index, JsonNode.Parse(Values[random.Next(Values.Length)]));
                break;
        }

        return Encoding.UTF8.GetBytes(root.ToJsonString());
    }

    private static JsonNode? Parse(byte[] text)
    {
        try
        {
            return JsonNode.Parse(text);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static void Collect(JsonNode node, List<(JsonNode Parent, string? Name, int Index)> spots, int depth)
    {
        if (depth > 32 || spots.Count > 4000)
            return;
        if (node is JsonObject members)
        {
            foreach (var (name, value) in members)
            {
                spots.Add((node, name, 0));
                if (value is not null)
                    Collect(value, spots, depth + 1);
            }
        }
        else if (node is JsonArray items)
        {
            for (var i = 0; i < items.Count; i++)
            {
                spots.Add((node, null, i));
                if (items[i] is { } value)
                    Collect(value, spots, depth + 1);
            }
        }
    }

    private static JsonNode? Get(JsonNode parent, string? name, int index) => name is null ? parent.AsArray()[index] : parent.AsObject()[name];

    private static void Set(JsonNode parent, string? name, int index, JsonNode? value)
    {
        if (name is null)
            parent.AsArray()[index] = value;
        else
            parent.AsObject()[name] = value;
    }

    private static void Remove(JsonNode parent, string? name, int index)
    {
        if (name is null)
            parent.AsArray().RemoveAt(index);
        else
            parent.AsObject().Remove(name);
    }
}
