"""The preset `seed`: the seed document's recipe to the letter."""
