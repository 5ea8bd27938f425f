"""Names for services that their users did not name: two words that the drawn id decides on. Pure."""

from cluster.api.ids import ALPHABET, Id

_HOW = (
    "amber brisk calm clear coral deep early fleet gentle glad golden green hardy hushed keen late light lucid mellow merry "
    "misty nimble pale patient plain quick quiet rapid ready salty serene silver sleek slow small steady still sunny supple "
    "swift tidal tidy vivid warm "
)
_WHO = (
    "anchovy angler barbel bass bream burbot carp char cod conger dab dace dory eel garfish goby grayling gurnard haddock "
    "hake halibut herring ide lamprey ling loach mackerel minnow mullet perch pike plaice pollock roach rudd salmon sardine "
    "smelt sole sprat tench trout tuna turbot wrasse zander "
)


def made_up_name(drawn: Id, *, taken: bool = False) -> str:
    """The same for the same id; longer when the short form is `taken`."""
    number = 0
    for digit in drawn:
        number = number * len(ALPHABET) + ALPHABET.index(digit)
    hows, whos = _HOW.split(), _WHO.split()
    number, how = divmod(number, len(hows))
    name = f"{hows[how]}_{whos[number % len(whos)]}"
    return f"{name}_{drawn[-6:]}" if taken else name
