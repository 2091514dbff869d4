"""From a trained model to the graph that serves it: what every preset's served graph is made of."""
