"""Finds what a caption names: things, each with its attributes and the actions it does.

    find_things("A young man in a blue shirt is playing the guitar .")
    → man (young; play), shirt (blue), guitar

Words are tagged by nltk's table and pattern taggers with the closed-class words, endings and word lists below, mended
by a few rules of context, and grouped into noun phrases by nltk's chunker. Concepts are stems ("playing" → play).
Nothing is read from nltk's downloaded data, so the result depends on this file and nltk's code alone. A statistical
tagger would be right more often; this one is meant for short captions of photos in English, in the present tense.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from itrcore.data.text.nltk_parts import (
    NLTKWordTokenizer,
    RegexpParser,
    RegexpTagger,
    SnowballStemmer,
    Tree,
    UnigramTagger,
)

# Penn tags, and: NX a noun that only counts or places another ("group", "front"), BE a verb that names no action,
# CS a subordinating conjunction (a new clause follows), DT1 a determiner that only a singular noun follows.
_CLOSED = {
    "DT1": "a an another each every this",
    "DT": "the some these those any no both all other that",
    "PRP": "he she it they him them himself herself itself themselves i you we us",
    "PRP$": "his her its their my your our",
    "CD": "one two three four five six seven eight nine ten eleven twelve several many few numerous multiple "
    "various",
    "IN": "in on at of with by from into onto over under through near behind around against between beside along "
    "across above below for inside outside toward towards during past off up down out underneath beneath atop "
    "among amongst without within beyond alongside about before after next like upon via aboard",
    "CS": "while as when where whereas because if although though so what how why than",
    "CC": "and or but , ; -- -",
    "WP": "who which whom",
    "TO": "to",
    "RB": "together away very there here just not n't almost also still too about outdoors indoors upside forward "
    "backwards backward apart alone else nearby ahead even then now well maybe perhaps overhead midair "
    "mid-air",
    "BE": "is are was were be been being am 're 'm has have had having do does did doing done can could may might "
    "will would seem seems appear appears get gets getting go goes going gone come comes coming try tries "
    "trying attempt attempts attempting begin begins starting start starts prepare prepares preparing let "
    "lets let's appearing",
    "POS": "' ''",
    ".": '. ! ? : ... " `` ( ) & /',
    "NX": "group groups front back top bottom middle side sides background foreground center distance pair pairs "
    "piece pieces couple lot lots bunch kind type sort set series row number variety array part edge end "
    "close-up closeup photo photograph picture image shot view scene way something someone somebody anything "
    "nothing everyone everybody others thing things time day moment use order case left right rest midst act "
    "action place",
}  # fmt: skip
_ADJECTIVES = """
    red orange yellow green blue purple pink brown black white gray grey tan beige gold golden silver maroon
    turquoise khaki teal navy blond blonde brunette dark light bright pale colorful colourful multicolored
    multi-colored colored big large small little tiny huge giant tall short long wide narrow thick thin high low
    deep shallow steep heavy young old older elderly younger middle-aged teenage adult male female asian african
    american african-american indian chinese japanese oriental caucasian hispanic mexican middle-eastern muslim fat
    skinny slim chubby pregnant bald naked nude happy sad angry excited serious tired sleepy asleep busy lone single
    wooden metal plastic concrete brick leather denim stone woolen wet dry dirty clean muddy dusty sandy grassy
    rocky snowy icy sunny cloudy rainy foggy hot cold warm cool fresh striped plaid checkered floral furry fluffy
    shaggy hairy curly bushy bare barefoot shirtless empty full open closed crowded quiet loud new modern ancient
    traditional formal casual urban rural public outdoor indoor professional electric electronic musical martial
    military medical tropical beautiful pretty cute nice fancy elegant round square flat sharp hard soft smooth
    rough broken clear different same similar matching various opposing upright blurry heavyset attractive ornate
    lush leafy shiny winter
"""
_VERBS = """
    act aim applaud approach arrange ask attend bake balance bathe bend bike bite blow board bounce bow box brush
    build bunt buy carry carve catch celebrate chase chat cheer chew clap clean climb color compete converse cook
    crawl cross crouch cry cut dance demonstrate dig dive drag draw dribble drink drive drum dunk eat embrace enjoy
    enter examine exit explore face fall feed fight fill fish fix flip float fly fold follow gather gaze gesture
    give glide grab grill grin guide hang hike hit hold hop hug hurdle inspect jog juggle jump kayak keep kick kiss
    kneel knit laugh lay lead leap learn lean leave lick lie lift light line listen load look lounge make march
    measure meet mix mow move observe operate overlook paddle paint parade park pass pay peer perform pet pick pitch
    place play plow point pose pour practice pray prepare present protest pull punch push put race raise reach read
    receive relax repair rest ride roll row run sail saw say scream sell serve sew shake share shop shoot shovel
    show sing sit skate skateboard ski sketch skip sled sleep slide smile smoke snowboard socialize speak spin
    splash spray spread squat stand stare stir stop stretch stroll study surf surround sweep swim swing take talk
    teach tell throw tie toss touch travel type use view visit wade wait wake walk wander wash watch wave wear weld
    work wrestle write yell
"""
_PAST = {
    "sat": "sit", "stood": "stand", "ran": "run", "held": "hold", "wore": "wear", "worn": "wear", "rode": "ride",
    "took": "take", "taken": "take", "made": "make", "hung": "hang", "lit": "light", "seen": "see", "built": "build",
    "thrown": "throw", "threw": "throw", "caught": "catch", "swung": "swing", "drawn": "draw", "driven": "drive",
    "shown": "show", "written": "write", "laid": "lay", "fallen": "fall", "broke": "break", "lying": "lie",
}  # fmt: skip
_NOUNS = """
    building clothing painting string king ring wing thing railing wedding swing evening morning ceiling meeting
    crossing drawing scaffolding earring awning sibling lightning wetsuit bed sled shed seed bus glass grass dress
    tennis canvas chess police bass cross compass mattress harness business boss iris oasis pancreas gas atlas
"""
_NOUNS_PLURAL = "people men women children feet teeth geese mice skis buses glasses jeans pants shorts"
_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "geese": "goose", "mice": "mouse", "leaves": "leaf", "knives": "knife", "wolves": "wolf", "shelves": "shelf",
    "grey": "gray", "blonde": "blond", "skis": "ski",
}  # fmt: skip
_COMMON_NOUNS = """
    man woman boy girl child person dog horse bird baby crowd shirt hat jacket pants jeans dress shoes hair face
    hand head arm glasses sunglasses helmet bag backpack cap coat scarf gloves uniform suit tie street sidewalk road
    building wall window door house store sign car truck bus bicycle motorcycle train boat tree grass flower field
    park garden fence bench water beach sand ocean lake river rock mountain hill snow sky cloud table chair couch
    bed floor room kitchen stage plate cup bottle food cake fruit book paper phone camera computer guitar microphone
    drum ball bat racket net frisbee skateboard surfboard ski rope pole ladder flag umbrella toy box basket cart
    tent lamp clock picture player worker
"""
# Those who act: "a man in a shirt standing" is a standing man, not a standing shirt.
_ACTOR_WORDS = """
    man woman person child boy girl kid guy lady baby toddler gentleman adult male female couple group team crowd
    friend family mother father son daughter bride groom police officer student fan band dog puppy cat horse bird
    cow bull sheep goat elephant monkey duck animal musician biker cyclist surfer
"""
_ACTOR_ENDINGS = ("er", "or", "ist", "man", "woman")
_COLLECTIVES = frozenset(("group", "groups", "couple", "pair", "pairs"))

_GRAMMAR = "NP: {<CD|JJ>*(<JJ><CC><JJ>)?<JJ|NN|NNS>*<NN|NNS>}"
_VERB_TAGS = frozenset({"VBG", "VBZ", "VBP", "VBN"})
_DETERMINERS = frozenset({"DT", "DT1", "PRP$"})


@dataclass
class Thing:
    """One noun phrase of a caption, as stems: what it is, what is said of it, what it does."""

    noun: str
    attributes: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)


_tokenizer = NLTKWordTokenizer()
_stemmer = SnowballStemmer("english")
_parser = RegexpParser(_GRAMMAR)
_patterns = RegexpTagger(
    [
        (r"^\d+([.,:]\d+)?$", "CD"),
        (r"^'s$", "POS"),
        (r"^\W+$", "."),
        (r"^.{2,}ing$", "VBG"),
        (r"^.+-.*ed$", "JJ"),
        (r"^.{2,}ed$", "VBN"),
        (r"^.{2,}ly$", "RB"),
        (r"^.+(ous|ful|less|-style|-colored|-hair|-aged)$", "JJ"),
        (r"^.+[^suoi']s$", "NNS"),
        (r".*", "NN"),
    ]
)


def _words(tag: str, words: list[str]) -> dict[str, str]:
    return dict.fromkeys(words, tag)


# Later tables win: "her" is a possessive, "open" an adjective.
_tagger = UnigramTagger(
    model={
        **_words("JJ", _ADJECTIVES.split()),
        **_words("VBN", list(_PAST)),
        **_words("NN", _NOUNS.split()),
        **_words("NNS", _NOUNS_PLURAL.split()),
        **{word: tag for tag, words in _CLOSED.items() for word in words.split()},
        "lying": "VBG",
    },
    backoff=_patterns,
)


def regular(word: str) -> str:
    """A word without irregular forms: "women" → woman, "rode" → ride; "rides" stays."""
    word = word.lower()
    if word.endswith("men") and len(word) > 5:
        word = f"{word[:-3]}man"  # firemen
    return _IRREGULAR.get(word, _PAST.get(word, word))


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The concept of a word: "women" → woman, "riding" → ride."""
    return str(_stemmer.stem(regular(word)))


_ACTORS = frozenset(stem(word) for word in _ACTOR_WORDS.split())
_VERB_STEMS = frozenset(stem(word) for word in _VERBS.split())
# Frequent in captions: the pool from which simulated features draw things, looks and actions that no caption names.
COMMON_NOUNS = tuple(dict.fromkeys(stem(word) for word in _COMMON_NOUNS.split()))
COMMON_ATTRIBUTES = tuple(dict.fromkeys(stem(word) for word in _ADJECTIVES.split()))
COMMON_ACTIONS = tuple(dict.fromkeys(stem(word) for word in _VERBS.split()))


def find_things(caption: str) -> list[Thing]:
    """The things a caption names, in its order. An action without a subject goes to the first subject, or thing."""
    tagged = tag_words(_tokenizer.tokenize(caption.lower()))
    things: list[Thing] = []
    subjects: list[Thing] = []  # those the next verb is about
    adjacent: Thing | None = None  # the thing that ends right before the word at hand, if one does
    first: Thing | None = None  # the first subject of all
    waiting: list[str] = []  # actions before any subject: "Sitting on a bench , a man reads"
    previous = "."
    for node in _parser.parse(tagged):
        if isinstance(node, Tree):
            thing = _thing(node.leaves())
            role = _role(previous, thing, subjects)
            if role == "joins":
                subjects = [*subjects, thing]
            elif role == "subject":
                subjects = [thing]
                first = first or thing
            things.append(thing)
            adjacent, previous = thing, "NP"
            continue
        word, tag = node
        if tag in _VERB_TAGS and adjacent is not None and adjacent not in subjects and _acts(adjacent.noun):
            subjects = [adjacent]
        if tag in _VERB_TAGS:
            for subject in subjects:
                subject.actions.append(stem(word))
            if not subjects:
                waiting.append(stem(word))
        elif tag == "JJ" and things:  # "his shirt is red", "a man in black"
            (subjects[-1] if subjects and previous == "BE" else things[-1]).attributes.append(stem(word))
        if tag in _DETERMINERS or tag == "RB" or (tag == "NX" and previous in ("IN", "TO")):
            continue  # "in the front of": what comes next still follows the preposition
        adjacent = None if tag != "." else adjacent
        previous = tag
    if things:
        (first or things[0]).actions.extend(waiting)
    return things


def tag_words(tokens: list[str]) -> list[tuple[str, str]]:
    """A caption's lower-cased words, each with its tag: from the tables, then corrected by its neighbours, from left to right.

    Penn's tags and, of this module: NX a noun that only counts or places another, BE a verb that names no action, CS, DT1.
    """
    tags = [_table_tag(token) for token in tokens]
    singular = False  # inside a noun phrase that "a" opened, so that its noun cannot be a plural
    for i, word in enumerate(tokens):
        if tags[i] == "DT1" or word == "one":
            singular = True
        tags[i] = _corrected(tokens, tags, i, singular)
        singular = singular and tags[i] in ("DT1", "CD", "JJ", "NN")
    return list(zip(tokens, tags, strict=True))


@lru_cache(maxsize=1 << 16)
def _table_tag(token: str) -> str:
    """The tag of a word alone: neither tagger looks at its neighbours."""
    return _tagger.tag([token])[0][1] or "NN"


def _corrected(tokens: list[str], tags: list[str], i: int, singular: bool) -> str:
    """The tag of word `i` in view of its neighbours; those to its left are corrected already."""
    word, tag = tokens[i], tags[i]
    earlier = tags[i - 2] if i > 1 else "."
    before, word_before = (tags[i - 1], tokens[i - 1]) if i else (".", "")
    after, word_after = (tags[i + 1], tokens[i + 1]) if i + 1 < len(tags) else (".", "")
    verb = stem(word) in _VERB_STEMS
    if tag in ("VBG", "VBN") and after in ("NN", "NNS", "JJ"):
        opens = before in (*_DETERMINERS, "CD", "JJ", "POS") or word_before in ("in", "with")
        if opens or (tag == "VBN" and before == "NN"):
            return "JJ"  # "a smiling woman", "in running shoes", "a snow covered mountain"
    if tag == "VBG" and before in (*_DETERMINERS, "POS"):
        return "NN"  # "the painting"
    if tag == "JJ" and before in _DETERMINERS and after not in ("JJ", "NN", "NNS", "CC", "VBG", "VBN", "CD"):
        return "NN"  # "an orange on the table"
    if tag == "NX" and word in _COLLECTIVES and word_after != "of":
        return "NN"  # "a couple sits"
    if tag == "NNS" and not word.endswith(("ers", "ors", "ists")):
        if before == "NN" and (singular or verb or _acts(stem(word_before))):
            return "VBZ"  # "a man plays", "man hugs"
        if verb and (before in ("NNS", "WP", "RB", "PRP") or (before == "CC" and earlier in _VERB_TAGS)):
            return "VBZ"  # "a man in jeans plays", "who plays", "runs and plays"
    if tag in ("NN", "JJ") and verb:
        if before == "TO" or (before in ("NNS", "PRP", "WP") and after not in ("NN", "NNS")):
            return "VBP"  # "to catch", "two men stand"
        if (before == "CC" and earlier in _VERB_TAGS) or (before == "NN" and earlier == "CC"):
            return "VBP"  # "swim and play", "a man and woman observe"
    if word == "that" and before in ("NN", "NNS"):
        return "WP"
    if word == "of" and before == "NX":
        return "NX"  # "a group of people" speaks of people
    return tag


def _thing(leaves: list[tuple[str, str]]) -> Thing:
    """The last noun, with every word before it as an attribute ("soccer ball" is a ball that is soccer)."""
    words = [stem(word) for word, tag in leaves if tag != "CC"]
    return Thing(words[-1], list(dict.fromkeys(words[:-1])))


def _role(previous: str, thing: Thing, subjects: list[Thing]) -> str:
    """What a noun phrase is to the verbs after it: "subject", "joins" (one of several subjects) or "object"."""
    if previous in ("IN", "TO", "POS") or previous in _VERB_TAGS:
        return "object"
    if previous in ("CC", "NP"):
        return ("joins" if subjects else "subject") if _acts(thing.noun) else "object"
    return "subject"


def _acts(noun: str) -> bool:
    return noun in _ACTORS or noun.endswith(_ACTOR_ENDINGS)
