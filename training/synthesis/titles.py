"""Invented words: titles in three scripts, synopses and user names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Romanised, English, Japanese.
_NOUNS = [
    ("Tsuki", "Moon", "月"),
    ("Hotaru", "Firefly", "蛍"),
    ("Kaze", "Wind", "風"),
    ("Umi", "Sea", "海"),
    ("Hoshi", "Star", "星"),
    ("Sakura", "Cherry Blossom", "桜"),
    ("Mori", "Forest", "森"),
    ("Kagami", "Mirror", "鏡"),
    ("Yume", "Dream", "夢"),
    ("Tsubasa", "Wing", "翼"),
    ("Katana", "Blade", "刀"),
    ("Ryuu", "Dragon", "竜"),
    ("Neko", "Cat", "猫"),
    ("Kitsune", "Fox", "狐"),
    ("Yuki", "Snow", "雪"),
    ("Honoo", "Flame", "炎"),
    ("Kumo", "Cloud", "雲"),
    ("Niji", "Rainbow", "虹"),
    ("Tegami", "Letter", "手紙"),
    ("Tokei", "Clock", "時計"),
    ("Toshokan", "Library", "図書館"),
    ("Gakuen", "Academy", "学園"),
    ("Mahoutsukai", "Wizard", "魔法使い"),
    ("Oukoku", "Kingdom", "王国"),
    ("Kikai", "Machine", "機械"),
    ("Kotori", "Little Bird", "小鳥"),
    ("Hana", "Flower", "花"),
    ("Kage", "Shadow", "影"),
    ("Hikari", "Light", "光"),
    ("Sora", "Sky", "空"),
    ("Mizuumi", "Lake", "湖"),
    ("Tabibito", "Traveller", "旅人"),
    ("Kissaten", "Coffee House", "喫茶店"),
    ("Densha", "Train", "電車"),
    ("Fune", "Ship", "船"),
    ("Tou", "Tower", "塔"),
    ("Mon", "Gate", "門"),
    ("Uta", "Song", "歌"),
    ("Yoru", "Night", "夜"),
    ("Natsu", "Summer", "夏"),
]
_ADJECTIVES = [
    ("Aoi", "Blue", "青い"),
    ("Shiroi", "White", "白い"),
    ("Chiisana", "Small", "小さな"),
    ("Tooi", "Distant", "遠い"),
    ("Shizuka na", "Quiet", "静かな"),
    ("Wasurerareta", "Forgotten", "忘れられた"),
    ("Saigo no", "Last", "最後の"),
    ("Fushigi na", "Curious", "不思議な"),
    ("Nemuru", "Sleeping", "眠る"),
    ("Hashiru", "Running", "走る"),
    ("Kin'iro no", "Golden", "金色の"),
    ("Himitsu no", "Secret", "秘密の"),
]
_PARTS = [
    "",
    "",
    "",
    "",
    " 2nd Season",
    " 3rd Season",
    " Specials",
    " Movie",
    ": Kanketsu-hen",
    "!",
]

_HEROES = ["a clockmaker's daughter", "a pair of twins", "a shy student", "an ageing swordsman"]
_HEROES += ["a nameless pilot", "a cook without a kitchen", "the keeper of a lighthouse"]
_EVENTS = ["finds a map that changes at night", "must win a race no one remembers entering"]
_EVENTS += ["hears a voice from the well", "inherits a train that has never stopped"]
_EVENTS += ["wakes in a city of paper, glass, and rain", "makes a promise to a stranger"]
_ENDS = ["Time is short.", "Nothing, it turns out, is as lost as it seems.", "Winter is near."]
_ENDS += ["Friends are made, doors are opened, and an old debt is paid."]

_HANDLES = ["Mochi", "Ramen", "Kumo", "Sora", "Neko", "Ookami", "Pixel", "Tanuki", "Matcha"]
_HANDLES += ["Yuzu", "Ronin", "Otter", "Comet", "Lantern", "Sparrow", "Panda", "Kiwi", "Nova"]
_TAILS = ["", "_", "-", "x", "chan", "San", "The", "Of", "Lord", "Fan", "TV"]
# Names that careless readers take for missing values or numbers.
NULL_LIKE = ["null", "NA", "nan", "None", "N-A", "NULL", "NaN", "true", "1e5", "-inf"]


@dataclass(frozen=True)
class Title:
    """One name in three scripts."""

    romanised: str
    english: str
    japanese: str


def titles(count: int, rng: np.random.Generator) -> list[Title]:
    """``count`` titles; all differ but for about one in a thousand."""
    made: list[Title] = []
    taken: dict[str, int] = {}
    for repeat in rng.random(count) < 0.001:
        if repeat and made:
            made.append(made[int(rng.integers(len(made)))])
            continue
        title = _title(rng)
        number = taken.get(title.romanised, 0) + 1
        taken[title.romanised] = number
        if number > 1:
            title = Title(*(f"{name} ({number})" for name in vars(title).values()))
        made.append(title)
    return made


def synopsis(title: Title, rng: np.random.Generator) -> str:
    """A few sentences over several lines, with commas and quoted names in them."""
    draw = rng.integers(0, 1 << 30, 6)
    hero = _HEROES[draw[0] % len(_HEROES)]
    first = f"In the days of the {title.english}, {hero} {_EVENTS[draw[1] % len(_EVENTS)]}."
    second = f'They call it "{title.romanised}", and few who see it, they say, speak of it again.'
    third = (
        f"{_HEROES[draw[2] % len(_HEROES)].capitalize()} {_EVENTS[draw[3] % len(_EVENTS)]}, too."
    )
    sentences = f"{first} {second}\n\n{third} {_ENDS[draw[4] % len(_ENDS)]}"
    return f"{sentences}\n\n(Source: the publisher)" if draw[5] % 3 else sentences


def usernames(count: int, rng: np.random.Generator) -> list[str]:
    """``count`` user names; all differ but for the few of ``NULL_LIKE``."""
    first = rng.integers(0, len(_HANDLES), count).tolist()
    tail = rng.integers(0, len(_TAILS), count).tolist()
    names = [
        f"{_HANDLES[a]}{_TAILS[b]}{number}"
        for number, (a, b) in enumerate(zip(first, tail, strict=True))
    ]
    for name, place in zip(NULL_LIKE, rng.permutation(count), strict=False):
        names[place] = name
    return names


def _title(rng: np.random.Generator) -> Title:
    draw = rng.integers(0, 1 << 30, 5)
    a, b, c = (_NOUNS[number % len(_NOUNS)] for number in draw[:3])
    adjective, part = _ADJECTIVES[draw[3] % len(_ADJECTIVES)], _PARTS[draw[4] % len(_PARTS)]
    forms = [
        (f"{a[0]} no {b[0]}", f"{b[1]} of the {a[1]}", f"{a[2]}の{b[2]}"),
        (f"{adjective[0]} {a[0]}", f"The {adjective[1]} {a[1]}", f"{adjective[2]}{a[2]}"),
        (f"{a[0]} to {b[0]} no {c[0]}", f"{c[1]} of {a[1]} and {b[1]}", f"{a[2]}と{b[2]}の{c[2]}"),
        (
            f"{adjective[0]} {a[0]} no {b[0]}",
            f"{b[1]} of the {adjective[1]} {a[1]}",
            f"{adjective[2]}{a[2]}の{b[2]}",
        ),
        (f"{a[0]}, {b[0]}, Soshite {c[0]}", f"{a[1]}, {b[1]}, {c[1]}", f"{a[2]}、{b[2]}、{c[2]}"),
        (f'"{a[0]}" {b[0]} {c[0]}', f'The "{a[1]}" {b[1]} {c[1]}', f"「{a[2]}」{b[2]}{c[2]}"),
    ]
    # Most patterns are of the longer kinds: they give the many distinct titles.
    romanised, english, japanese = forms[[0, 1, 2, 2, 2, 3, 3, 3, 4, 5][int(draw[3] >> 8) % 10]]
    return Title(romanised + part, english + part.replace("Kanketsu-hen", "Finale"), japanese)
