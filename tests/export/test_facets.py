import pandas as pd

from export.facets import facets
from training.tables.tables import Tables

AIRED = [
    ("1998-04-03", "1999-04-24", "Finished Airing", [1998, 1999]),
    ("2001-09-01", "2001-09-01", "Finished Airing", [2001, 2001]),
    ("1999-10-20", "NaT", "Currently Airing", [1999, 0]),
    ("1999-10-20", "NaT", "Finished Airing", [1999, 1999]),
    ("NaT", "2003-01-01", "Finished Airing", [2003, 2003]),
    ("NaT", "NaT", "Not yet aired", [0, 0]),
]


def test_an_anime_has_the_years_in_which_it_was_on_the_air():
    count = len(AIRED)
    anime = pd.DataFrame(
        {
            "air_start": pd.to_datetime([start for start, *_ in AIRED]),
            "air_end": pd.to_datetime([end for _, end, *_ in AIRED]),
            "status": [status for *_, status, _ in AIRED],
            "episodes": [26.0, None, 12.0, 1.0, 3.0, 1.0],
            "genres": [["Action"], [], [], [], [], []],
            "studios": [[]] * count,
            "type": pd.Series(["TV", None, None, None, None, None], dtype=object),
            "source": pd.Series([None] * count, dtype=object),
            "age_rating": pd.Series([None] * count, dtype=object),
        }
    )
    found = facets(anime)
    assert found.years is not None
    assert found.years.tolist() == [years for *_, years in AIRED]
    assert found.episodes is not None
    assert found.episodes.tolist() == [26, 0, 12, 1, 3, 1]
    assert [*zip(found.columns, found.values, strict=True)] == [
        ("genres", "Action"),
        ("types", "TV"),
    ]


def test_every_value_of_the_tables_is_there(tables: Tables):
    found = facets(tables.anime)
    for column, name in (("sources", "source"), ("age_ratings", "age_rating"), ("types", "type")):
        assert [*found.of_column(column)] == sorted(tables.anime[name].dropna().unique())
    studios = {studio for of in tables.anime["studios"] for studio in of}
    assert {*found.of_column("studios")} == studios
