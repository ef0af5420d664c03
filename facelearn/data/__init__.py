"""Image sets in memory: synthetic faces, and real handwritten digits."""

from facelearn.data.digits import digits
from facelearn.data.face_factors import GROUPS, NUISANCE, TRAITS, draw_nuisance, draw_traits, strengths
from facelearn.data.face_renderer import render
from facelearn.data.faces import SyntheticFaces, long_tail
from facelearn.data.image_set import ImageSet, contact_sheet, to_float
from facelearn.data.mnist import MNIST
from facelearn.data.standard import STANDARD, standard

__all__ = [
    "GROUPS",
    "MNIST",
    "NUISANCE",
    "STANDARD",
    "TRAITS",
    "ImageSet",
    "SyntheticFaces",
    "contact_sheet",
    "digits",
    "draw_nuisance",
    "draw_traits",
    "long_tail",
    "render",
    "standard",
    "strengths",
    "to_float",
]
