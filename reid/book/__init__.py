"""Individuals as pages: who each of them is, where and when it was seen, and why each picture is here.

animals.py     what is known of each individual, from sightings, remarks and neighbours
why_here.py    why a picture is with its individual, in words
timelines.py   sightings by time and place, and places on a map, as HTML and SVG
animal_pages.py  the index of individuals, and a page each
pictures.py    pictures as files beside pages
site.py        all of them as files that open from disk
browse.py      the same of pictures alone, before anything is grouped
"""

from reid.book.animal_pages import Links, Origin, all_pictures, render_animal, render_index
from reid.book.animals import Animal, KnownPicture, Near, Sighting, animals
from reid.book.browse import write_browser
from reid.book.pictures import PicturesWritten
from reid.book.site import write_site

__all__ = [
    "Animal",
    "KnownPicture",
    "Links",
    "Near",
    "Origin",
    "PicturesWritten",
    "Sighting",
    "all_pictures",
    "animals",
    "render_animal",
    "render_index",
    "write_browser",
    "write_site",
]
