"""Image sets: synthetic faces, real handwritten digits, and the files in which sets of real faces come."""

from facelearn.data.align import align_face
from facelearn.data.digits import digits
from facelearn.data.face_factors import GROUPS, NUISANCE, TRAITS, draw_nuisance, draw_traits, strengths
from facelearn.data.face_renderer import render
from facelearn.data.faces import SyntheticFaces, long_tail
from facelearn.data.files import data_root
from facelearn.data.folder import ORL, ImageFolder
from facelearn.data.image_set import ImageSet, contact_sheet, subset, to_float
from facelearn.data.lfw import LFWPairs, LFWPeople
from facelearn.data.mnist import MNIST
from facelearn.data.recordio import RecordIO, write_recordio
from facelearn.data.samplers import BalancedBatches, PKBatches
from facelearn.data.standard import STANDARD, standard
from facelearn.data.verification_bin import VerificationBin

__all__ = [
    "GROUPS",
    "MNIST",
    "NUISANCE",
    "ORL",
    "STANDARD",
    "TRAITS",
    "BalancedBatches",
    "ImageFolder",
    "ImageSet",
    "LFWPairs",
    "LFWPeople",
    "PKBatches",
    "RecordIO",
    "SyntheticFaces",
    "VerificationBin",
    "align_face",
    "contact_sheet",
    "data_root",
    "digits",
    "draw_nuisance",
    "draw_traits",
    "long_tail",
    "render",
    "standard",
    "strengths",
    "subset",
    "to_float",
    "write_recordio",
]
