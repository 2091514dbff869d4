//! Ranks anime for a visitor by a bundle's ONNX file; nothing of anirank is imported.
//!
//! NOT TRIED: its crates could not be had where this was written. It does what examples/node does,
//! which is tested:
//!
//!     cargo run -- ../../model_store/anime/1 '{"1": 9, "5": null}' 6 7 8 15
//!
//! The second argument is the history: a rating by anime id, null for what was watched and not
//! rated. What follows are the anime to rank. Each comes out on a line: its id, its score, its
//! predicted rating, the best first.

use std::{env, error::Error, fs, path::Path, process::exit};

use ort::{inputs, session::Session, value::Tensor};
use serde_json::{Map, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.len() < 3 {
        eprintln!("give a bundle, a history and the ids of anime");
        exit(2);
    }
    let bundle = Path::new(&arguments[0]);
    let manifest: Value = serde_json::from_slice(&fs::read(bundle.join("manifest.json"))?)?;
    let history: Map<String, Value> = serde_json::from_str(&arguments[1])?;
    let candidates = parsed(arguments[2..].iter())?;
    let watched = parsed(history.keys())?;
    let ratings: Vec<f32> = history
        .values()
        .map(|given| given.as_f64().map_or(f32::NAN, |rating| rating as f32))
        .collect();
    let columns = manifest["profile"].as_array().map_or(0, Vec::len);

    let mut session = Session::builder()?.commit_from_file(bundle.join("ranker.onnx"))?;
    let outputs = session.run(inputs![
        "user_id" => Tensor::from_array(([1], vec![0i64]))?, // nobody the model knows
        "history_ids" => Tensor::from_array(([1, watched.len()], watched))?,
        "history_ratings" => Tensor::from_array(([1, ratings.len()], ratings))?,
        "profile" => Tensor::from_array(([1, columns], vec![f32::NAN; columns]))?, // not known
        "candidate_ids" => Tensor::from_array(([1, candidates.len()], candidates.clone()))?,
    ])?;
    let (_, rating) = outputs["rating"].try_extract_tensor::<f32>()?;
    let (_, affinity) = outputs["affinity"].try_extract_tensor::<f32>()?;
    let (_, known) = outputs["known"].try_extract_tensor::<bool>()?;

    let constant = |name: &str| manifest["score"][name].as_f64().unwrap_or(0.0);
    let (beta, mean) = (constant("beta"), constant("mean"));
    let mut found: Vec<(i64, f64, f32)> = (0..candidates.len())
        .filter(|&at| known[at]) // the others are not in the catalogue
        .map(|at| {
            let score = f64::from(affinity[at]) + beta * (f64::from(rating[at]) - mean);
            (candidates[at], score, rating[at])
        })
        .collect();
    found.sort_by(|one, other| other.1.total_cmp(&one.1)); // equal ones stay in their order
    for (id, score, rating) in found {
        println!("{id} {score} {rating}");
    }
    Ok(())
}

fn parsed<'a>(ids: impl Iterator<Item = &'a String>) -> Result<Vec<i64>, Box<dyn Error>> {
    Ok(ids.map(|id| id.parse()).collect::<Result<_, _>>()?)
}
