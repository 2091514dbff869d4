"""The preset `personal`: a true Wide & Deep that knows the person."""
