"""Coat patterns: one reaction-diffusion equation, whose parameters are what an individual inherits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Floats = npt.NDArray[np.float32]

# The coat is a periodic plane, measured in body lengths (hip to shoulder): the torso lies in the
# middle row of it, limbs use the rest.
PLANE_LENGTH = 3.0
PLANE_HEIGHT = 1.5
_CELLS_PER_BODY = 64  # a wavelength must span about five cells or more
_UPSAMPLE = 3
TEXELS_PER_BODY = _CELLS_PER_BODY * _UPSAMPLE


@dataclass(frozen=True)
class CoatStyle:
    """What all coats of a species share; a pair is the range an individual's own value is drawn from.

    Lengths are in body lengths, colours sRGB in [0, 1].
    """

    wavelength: tuple[float, float]  # spacing of the marks
    coverage: tuple[float, float]  # share of the coat that marks cover
    growth: float  # how far beyond the onset of patterns; low values keep spots apart
    roundness: tuple[float, float]  # the quadratic term: 0 gives stripes, about 1 gives spots
    directed: tuple[float, float]  # how strongly stripes stand across the body
    slant_rad: tuple[float, float]  # their lean
    hollow: tuple[float, float]  # 0 solid marks … 1 open rings
    fade: tuple[float, float]  # share of the marks that is lost towards the tail
    limbs: tuple[float, float]  # how far the marks go on down the limbs
    ground: tuple[tuple[float, float, float], tuple[float, float, float]]  # from … to
    marks: tuple[tuple[float, float, float], tuple[float, float, float]]
    belly: tuple[float, float, float]


@dataclass(frozen=True)
class Coat:
    """One flank, ready to be sampled: two (rows, columns) float32 planes and what colours them."""

    field: Floats  # marks lie where it is high; zero mean, unit deviation
    grain: Floats  # breaks rings open, tints the fur; zero mean, unit deviation
    fade: float
    limbs: float
    mark_level: float  # marks start at this value of `field` …
    hollow_level: float  # … and open again at this one
    ground: Floats  # (3,)
    marks: Floats  # (3,)
    belly: Floats  # (3,)


def swift_hohenberg(
    start: Floats,
    wavelength_cells: float,
    *,
    roundness: float,
    directed: float = 0.0,
    slant_rad: float = 0.0,
    growth: float = 0.4,
    steps: int = 50,
    time_step: float = 0.7,
) -> Floats:
    """Let a pattern of stripes or spots grow out of noise, on a periodic grid.

    Integrates u_t = growth·u − (1 − k²/k₀²)²u − directed·(k_across/k₀)²u + roundness·u² − u³ with
    the linear part implicit, in Fourier space.

    Args:
        start: (rows, columns) float32, the noise that decides where marks will lie.
        wavelength_cells: spacing of the marks in grid cells, > 2.
        roundness: 0 gives stripes and labyrinths; about 1 gives spots, high on low ground.
        directed: ≥ 0; suppresses waves that do not run along the rows, so stripes stand upright.
        slant_rad: turns the direction that `directed` favours.
        growth: how far beyond the onset of patterns, > 0.
        steps: time steps taken.
        time_step: of each, in units of the equation's time.

    Returns:
        (rows, columns) float32, zero mean and unit deviation.

    Source: Swift & Hohenberg, Phys. Rev. A 15 (1977), eq. 20; the reduced form of Turing's
        activator-inhibitor systems near onset (Cross & Hohenberg, Rev. Mod. Phys. 65, 1993).
    Differs: the `directed` term is ours, it stands in for the gradient along an embryo's body axis.
    """
    rows, columns = start.shape
    k_row = fft.fftfreq(rows)[:, None] * wavelength_cells
    k_column = fft.rfftfreq(columns)[None, :] * wavelength_cells
    across = k_row * np.cos(slant_rad) - k_column * np.sin(slant_rad)
    damping = (1 - (k_row**2 + k_column**2)) ** 2 + directed * across**2
    implicit = (1 / (1 + time_step * (damping - growth))).astype(np.float32)
    u = (0.3 * start / start.std()).astype(np.float32)
    for _ in range(steps):
        forcing = u + np.float32(time_step) * (np.float32(roundness) - u) * u * u
        # The equation itself keeps |u| below about 2; the clip only guards the first, noisy steps.
        np.clip(forcing, -4, 4, out=forcing)
        u = fft.irfft2(fft.rfft2(forcing) * implicit, s=start.shape).astype(np.float32)
    return standardise(u)


def standardise(values: Floats) -> Floats:
    """`values` with zero mean and unit deviation."""
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-6), np.float32)


def _enlarge(plane: Floats) -> Floats:
    """A periodic plane on a grid `_UPSAMPLE` times as fine; exact for band-limited fields."""
    rows, columns = plane.shape
    spectrum = fft.rfft2(plane)
    wide = np.zeros((rows * _UPSAMPLE, columns * _UPSAMPLE // 2 + 1), dtype=spectrum.dtype)
    half = rows // 2
    wide[:half, : spectrum.shape[1]] = spectrum[:half]
    wide[-half:, : spectrum.shape[1]] = spectrum[-half:]
    fine: Floats = fft.irfft2(wide, s=(rows * _UPSAMPLE, columns * _UPSAMPLE)).astype(np.float32)
    return fine


# Each trait, and how much it catches the eye when all else is equal.
TRAITS = {
    "wavelength": 2.0,
    "coverage": 1.5,
    "roundness": 1.0,
    "directed": 0.5,
    "slant_rad": 1.0,
    "hollow": 1.0,
    "fade": 1.2,
    "limbs": 1.2,
    "ground": 2.0,
    "marks": 1.0,
}


def draw_traits(
    style: CoatStyle, individuals: int, rng: np.random.Generator, *, candidates: int = 64
) -> Floats:
    """Traits of a population, (individuals, len(TRAITS)) float32 in [0, 1], spread apart.

    Of `candidates` random newcomers, the one farthest from all who are already there is born. A
    population drawn at random would hold near-twins, whom no general model can tell apart. Traits
    count by their weight in `TRAITS`, and not at all where the species does not vary.

    Source: Mitchell, Spectrally optimal sampling, SIGGRAPH 1991: best-candidate sampling.
    """
    weights = np.array(
        [
            weight if getattr(style, name)[0] != getattr(style, name)[1] else 0.0
            for name, weight in TRAITS.items()
        ],
        dtype=np.float32,
    )
    traits = np.empty((individuals, len(TRAITS)), dtype=np.float32)
    for member in range(individuals):
        offers = rng.random((candidates, len(TRAITS)), dtype=np.float32)
        if member:
            new, known = offers * weights, traits[:member] * weights
            squares = (new**2).sum(1)[:, None] + (known**2).sum(1) - 2 * new @ known.T
            offers = offers[np.argmax(squares.min(axis=1))][None, :]
        traits[member] = offers[0]
    return traits


def grow_flanks(
    style: CoatStyle, traits: Floats, rng: np.random.Generator, *, likeness: float = 0.7
) -> list[Coat]:
    """The left and the right flank of one individual.

    Both share the individual's `traits` (a row of `draw_traits`: where it lies in each range of
    `style`) and grow from noise that is correlated by `likeness` in [0, 1]: 1 gives mirror images,
    0 unrelated arrangements. As drawn, both planes run from tail to head; the left flank is
    mirrored when it is seen.
    """
    share = dict(zip(TRAITS, traits.tolist(), strict=True))

    def trait(name: str) -> float:
        low, high = getattr(style, name)
        return float(low + (high - low) * share[name])

    def colour(name: str) -> Floats:
        low, high = (np.asarray(end, np.float32) for end in getattr(style, name))
        return np.asarray(low + (high - low) * np.float32(share[name]), np.float32)

    wavelength_cells = trait("wavelength") * _CELLS_PER_BODY
    coverage, hollow = trait("coverage"), trait("hollow")
    shape = (round(PLANE_HEIGHT * _CELLS_PER_BODY), round(PLANE_LENGTH * _CELLS_PER_BODY))
    shared = rng.standard_normal((2, *shape), dtype=np.float32)
    coats = []
    for _ in range(2):
        own = rng.standard_normal((2, *shape), dtype=np.float32)
        start, grain_start = np.sqrt(likeness) * shared + np.sqrt(1 - likeness) * own
        field = swift_hohenberg(
            # Only slow waves survive anyway; without the fast ones growth needs fewer steps.
            ndimage.gaussian_filter(start, 0.15 * wavelength_cells, mode="wrap"),
            wavelength_cells,
            growth=style.growth,
            roundness=trait("roundness"),
            directed=trait("directed"),
            slant_rad=trait("slant_rad"),
        )
        grain = standardise(ndimage.gaussian_filter(grain_start, 1.4, mode="wrap"))
        field, grain = _enlarge(field), _enlarge(grain)
        hollow_level = float(np.quantile(field, 1 - coverage * hollow * 0.55))
        coats.append(
            Coat(
                field=field,
                grain=grain,
                fade=trait("fade"),
                limbs=trait("limbs"),
                mark_level=float(np.quantile(field, 1 - coverage)),
                hollow_level=hollow_level if hollow > 0 else np.inf,
                ground=colour("ground"),
                marks=colour("marks"),
                belly=np.asarray(style.belly, np.float32),
            )
        )
    return coats
