"""The vocabulary: which words the model knows, their phones, and what stands for everything else."""

# Word -> its states. Every word owns its phones (a whole-word model); doubled vowels give a word a minimum duration.
LEXICON = {
    "zero": "z ih r ow ow", "one": "w ah ah n", "two": "t uw uw", "three": "th r iy iy", "four": "f ao ao r",
    "five": "f ay ay v", "six": "s ih k s", "seven": "s eh v ah n", "eight": "ey ey t", "nine": "n ay ay n",
    "yes": "y eh eh s", "no": "n ow ow", "hello": "hh ah l ow ow", "stop": "s t aa aa p", "help": "hh eh eh l p",
    "beep": "b iy iy p", "over": "ow ow v er", "okay": "ow k ey ey", "play": "p l ey ey", "send": "s eh eh n d",
}
WORDS = list(LEXICON)
DIGITS = WORDS[:10]
UNKNOWN = "[unk]"
PHONES = ["SIL", "SPN"] + [f"{w}_{i}_{p}" for w in WORDS for i, p in enumerate(LEXICON[w].split())]
PHONE_ID = {p: i + 1 for i, p in enumerate(PHONES)}  # 1-based, as Kaldi counts; pdf = id - 1
SIL, SPN = 0, 1  # as pdfs


def pdfs(word):
    """The states of a word, as pdf numbers; one spoken-noise state for a word outside the vocabulary."""
    if word not in LEXICON:
        return [SPN]
    return [PHONE_ID[f"{word}_{i}_{p}"] - 1 for i, p in enumerate(LEXICON[word].split())]


# Training material for [unk]. Words that sound like one of ours ("for", "won", "too", "know") are left out.
FILLER = """about above after again air all along also always animal another answer around ask away back because
before began begin below between big book both boy bring build but call came can car carry change children city close
come could country cut day did different does door down each earth eat end enough even every example eye face family
far farm father feet few find first follow food form found friend from garden gave get girl give good grand great group
grow had hand hard has have head hear heard her here high him his home house how idea important into just keep
kind land large last later learn leave left let letter life light like line list little live long look made make
man many may mean men might mile more morning most mother mountain move much music must name near need never new next
night north nothing now number of off often old once only open other our own page paper part people picture place
plant point question quick read real right river room round run said same saw say school sea second see seem sentence
set she should show side sister small some something song soon sound spell stand state still story street study such
sun table take talk tell than that their them then there these they thing think this those thought through time together
took town tree try turn under until up us use very walk want was watch water way week well went were what when where
which while white who why will window with without woman wood word work world would write year you young your""".split()
