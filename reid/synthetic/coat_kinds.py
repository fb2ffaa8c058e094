"""The species of the built-in herd: each a build, one style of coat, and where it lives."""

from dataclasses import dataclass

from reid.synthetic.body import Build
from reid.synthetic.coat import CoatStyle


@dataclass(frozen=True)
class AnimalKind:
    """A kind of animal: its name, proportions, coat, and the habitats it is met in."""

    name: str
    build: Build
    style: CoatStyle
    habitats: tuple[int, ...]  # indices into scene.HABITATS
    night_share: float  # share of encounters in the dark


SPECIES = (
    AnimalKind(
        "leopard",  # rosettes
        Build(
            torso=(0.20, 0.225),
            leg=0.72,
            thigh=(0.185, 0.085),
            shank=(0.075, 0.05),
            neck=(0.26, 0.35, 0.19, 0.14),
            head=(0.24, 0.5, 0.135, 0.075),
            ear=(0.05, 0.05),
            tail=(0.95, 0.75, 0.045),
        ),
        CoatStyle(
            wavelength=(0.09, 0.26),
            coverage=(0.30, 0.66),
            roundness=(0.45, 1.5),
            growth=0.15,
            directed=(0.0, 0.0),
            slant_rad=(0.0, 0.0),
            hollow=(0.15, 1.15),
            fade=(0.0, 0.45),
            limbs=(0.1, 1.0),
            ground=((0.50, 0.26, 0.09), (0.97, 0.91, 0.79)),
            marks=((0.06, 0.05, 0.05), (0.26, 0.13, 0.07)),
            belly=(0.94, 0.90, 0.82),
        ),
        (1,),
        0.10,
    ),
    AnimalKind(
        "zebra",  # stripes
        Build(
            torso=(0.26, 0.26),
            leg=0.98,
            thigh=(0.21, 0.08),
            shank=(0.07, 0.042),
            neck=(0.50, 0.85, 0.22, 0.13),
            head=(0.42, 1.35, 0.125, 0.075),
            ear=(0.10, 0.038),
            tail=(0.55, 1.2, 0.03),
            mane=0.05,
            tuft=True,
        ),
        CoatStyle(
            wavelength=(0.08, 0.24),
            coverage=(0.30, 0.72),
            roundness=(0.0, 0.25),
            growth=0.3,
            directed=(0.08, 0.8),
            slant_rad=(-0.6, 0.6),
            hollow=(0.0, 0.0),
            fade=(0.0, 0.9),
            limbs=(0.1, 1.0),
            ground=((0.72, 0.56, 0.38), (0.96, 0.96, 0.95)),
            marks=((0.05, 0.05, 0.06), (0.42, 0.25, 0.14)),
            belly=(0.93, 0.91, 0.88),
        ),
        (0,),
        0.08,
    ),
    AnimalKind(
        "chital",  # white spots
        Build(
            torso=(0.20, 0.205),
            leg=0.90,
            thigh=(0.165, 0.06),
            shank=(0.05, 0.03),
            neck=(0.42, 0.95, 0.15, 0.085),
            head=(0.27, 1.25, 0.095, 0.05),
            ear=(0.12, 0.04),
            tail=(0.26, 0.9, 0.04),
        ),
        CoatStyle(
            wavelength=(0.08, 0.23),
            coverage=(0.12, 0.45),
            roundness=(0.4, 1.6),
            growth=0.15,
            directed=(0.0, 0.0),
            slant_rad=(0.0, 0.0),
            hollow=(0.0, 0.0),
            fade=(0.0, 0.8),
            limbs=(0.0, 0.9),
            ground=((0.26, 0.16, 0.11), (0.80, 0.50, 0.24)),
            marks=((0.90, 0.76, 0.52), (0.98, 0.97, 0.95)),
            belly=(0.93, 0.89, 0.82),
        ),
        (2,),
        0.08,
    ),
    AnimalKind(
        "giraffe",  # patches in a pale net
        Build(
            torso=(0.30, 0.33),
            leg=1.30,
            thigh=(0.24, 0.09),
            shank=(0.075, 0.05),
            neck=(0.95, 0.95, 0.27, 0.12),
            head=(0.36, 1.25, 0.11, 0.065),
            ear=(0.11, 0.04),
            tail=(0.60, 1.2, 0.03),
            tuft=True,
        ),
        CoatStyle(
            wavelength=(0.13, 0.36),
            coverage=(0.40, 0.80),
            roundness=(0.2, 1.5),
            growth=0.15,
            directed=(0.0, 0.0),
            slant_rad=(0.0, 0.0),
            hollow=(0.0, 0.0),
            fade=(0.0, 0.5),
            limbs=(0.0, 1.0),
            ground=((0.80, 0.62, 0.38), (0.96, 0.93, 0.84)),
            marks=((0.16, 0.10, 0.07), (0.74, 0.42, 0.18)),
            belly=(0.92, 0.87, 0.76),
        ),
        (0,),
        0.08,
    ),
)
