// Ranks anime for a visitor by a bundle's ONNX file; nothing of anirank is imported.
//
// NOT TRIED: .NET could not be had where this was written. It does what examples/node does, which is
// tested:
//
//     dotnet run -- ../../model_store/anime/1 '{"1": 9, "5": null}' 6 7 8 15
//
// The second argument is the history: a rating by anime id, null for what was watched and not rated.
// What follows are the anime to rank. Each comes out on a line: its id, its score, its predicted
// rating, the best first.

using System.Globalization;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;

if (args.Length < 3)
{
    Console.Error.WriteLine("give a bundle, a history and the ids of anime");
    return 2;
}

using var manifest = JsonDocument.Parse(File.ReadAllText(Path.Combine(args[0], "manifest.json")));
var history = JsonSerializer.Deserialize<Dictionary<string, float?>>(args[1])!;
long[] candidates = args.Skip(2).Select(long.Parse).ToArray();
long[] watched = history.Keys.Select(long.Parse).ToArray();
float[] ratings = history.Values.Select(given => given ?? float.NaN).ToArray();
int columns = manifest.RootElement.GetProperty("profile").GetArrayLength();
float[] profile = Enumerable.Repeat(float.NaN, columns).ToArray(); // not known

using var session = new InferenceSession(Path.Combine(args[0], "ranker.onnx"));
using var user = OrtValue.CreateTensorValueFromMemory(new long[] { 0 }, [1]); // nobody known
using var ids = OrtValue.CreateTensorValueFromMemory(watched, [1, watched.Length]);
using var stars = OrtValue.CreateTensorValueFromMemory(ratings, [1, ratings.Length]);
using var traits = OrtValue.CreateTensorValueFromMemory(profile, [1, profile.Length]);
using var asked = OrtValue.CreateTensorValueFromMemory(candidates, [1, candidates.Length]);
var inputs = new Dictionary<string, OrtValue>
{
    ["user_id"] = user,
    ["history_ids"] = ids,
    ["history_ratings"] = stars,
    ["profile"] = traits,
    ["candidate_ids"] = asked,
};
using var options = new RunOptions();
using var outputs = session.Run(options, inputs, ["rating", "affinity", "known"]);
float[] rating = outputs[0].GetTensorDataAsSpan<float>().ToArray();
float[] affinity = outputs[1].GetTensorDataAsSpan<float>().ToArray();
bool[] known = outputs[2].GetTensorDataAsSpan<bool>().ToArray();

var score = manifest.RootElement.GetProperty("score");
double beta = score.GetProperty("beta").GetDouble(), mean = score.GetProperty("mean").GetDouble();
var found = candidates
    .Select((id, at) => (id, at, score: affinity[at] + beta * (rating[at] - mean)))
    .Where(anime => known[anime.at]) // the others are not in the catalogue
    .OrderByDescending(anime => anime.score); // equal ones stay in their order
foreach (var (id, at, total) in found)
{
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{id} {total} {rating[at]}"));
}
return 0;
