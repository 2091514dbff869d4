// Ranks anime for a visitor by a bundle's ONNX file; nothing of anirank is imported.
//
// NOT TRIED: its libraries could not be had where this was written. It does what examples/node does,
// which is tested, and needs com.microsoft.onnxruntime:onnxruntime and
// com.fasterxml.jackson.core:jackson-databind in the folder libs:
//
//     java -cp 'libs/*' Rank.java ../../model_store/anime/1 '{"1": 9, "5": null}' 6 7 8 15
//
// The second argument is the history: a rating by anime id, null for what was watched and not rated.
// What follows are the anime to rank. Each comes out on a line: its id, its score, its predicted
// rating, the best first.

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;

public final class Rank {
  private record Anime(long id, double score, float rating) {}

  public static void main(String[] arguments) throws OrtException, IOException {
    if (arguments.length < 3) {
      System.err.println("give a bundle, a history and the ids of anime");
      System.exit(2);
    }
    var json = new ObjectMapper();
    JsonNode manifest = json.readTree(new File(arguments[0], "manifest.json"));
    var history = List.copyOf(json.readTree(arguments[1]).properties());
    long[] watched = history.stream().mapToLong(one -> Long.parseLong(one.getKey())).toArray();
    long[] candidates = Arrays.stream(arguments).skip(2).mapToLong(Long::parseLong).toArray();
    float[] ratings = new float[watched.length];
    for (int at = 0; at < ratings.length; at++) {
      JsonNode given = history.get(at).getValue();
      ratings[at] = given.isNull() ? Float.NaN : given.floatValue();
    }
    float[] profile = new float[manifest.get("profile").size()];
    Arrays.fill(profile, Float.NaN); // not known

    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    String graph = new File(arguments[0], "ranker.onnx").getPath();
    try (OrtSession session = environment.createSession(graph);
        OnnxTensor user = tensor(environment, new long[] {0}, 1); // nobody known
        OnnxTensor ids = tensor(environment, watched, 1, watched.length);
        OnnxTensor stars = tensor(environment, ratings, 1, ratings.length);
        OnnxTensor traits = tensor(environment, profile, 1, profile.length);
        OnnxTensor asked = tensor(environment, candidates, 1, candidates.length);
        OrtSession.Result result =
            session.run(
                Map.of(
                    "user_id", user,
                    "history_ids", ids,
                    "history_ratings", stars,
                    "profile", traits,
                    "candidate_ids", asked))) {
      float[] rating = ((float[][]) result.get("rating").orElseThrow().getValue())[0];
      float[] affinity = ((float[][]) result.get("affinity").orElseThrow().getValue())[0];
      boolean[] known = ((boolean[][]) result.get("known").orElseThrow().getValue())[0];
      double beta = manifest.get("score").get("beta").doubleValue();
      double mean = manifest.get("score").get("mean").doubleValue();
      List<Anime> found = new ArrayList<>();
      for (int at = 0; at < candidates.length; at++) {
        if (known[at]) { // the others are not in the catalogue
          double score = affinity[at] + beta * (rating[at] - mean);
          found.add(new Anime(candidates[at], score, rating[at]));
        }
      }
      found.sort(Comparator.comparingDouble(Anime::score).reversed());
      found.forEach(one -> System.out.println(one.id + " " + one.score + " " + one.rating));
    }
  }

  private static OnnxTensor tensor(OrtEnvironment environment, long[] ids, long... shape)
      throws OrtException {
    return OnnxTensor.createTensor(environment, LongBuffer.wrap(ids), shape);
  }

  private static OnnxTensor tensor(OrtEnvironment environment, float[] numbers, long... shape)
      throws OrtException {
    return OnnxTensor.createTensor(environment, FloatBuffer.wrap(numbers), shape);
  }
}
