import numpy as np

from training.personal.model import PersonalModel
from training.personal.people import Showcase
from training.personal.run import PersonalRun
from training.tables.tables import Tables


def test_nobody_is_recommended_what_is_known_of_them_and_not_asked_for(
    personal: PersonalRun, tables: Tables
) -> None:
    showcase = Showcase.of(personal, PersonalModel.load(personal, tables), tables)
    parts, ratings = personal.parts(tables), tables.ratings
    known = np.concatenate([parts.train, parts.validation])
    for user in np.unique(ratings.user_row[parts.validation])[:20].tolist():
        own = ratings.anime_row[known[ratings.user_row[known] == user]]
        titles = {showcase.names[anime] for anime in own}
        ten = showcase._person(user, "anybody").ten
        assert len(ten) == 10
        assert not {each.title for each in ten} & titles
