"""What a user has watched, as it is written on the command line: 1:9,5."""


def pairs_of(text: str | None) -> list[tuple[int, float | None]]:
    """Anime ids and ratings, None = not rated; raises ValueError for text of another form."""
    pairs = [each.partition(":") for each in text.split(",")] if text else []
    return [(int(anime), float(rating) if colon else None) for anime, colon, rating in pairs]
