"""From a run to a bundle: the served graph, written down, proved and packed."""
