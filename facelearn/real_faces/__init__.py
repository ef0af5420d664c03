"""What the losses do on real faces: LFW, no labelled data from outside, five rotations, seeds, paired tests.

    python -m facelearn.real_faces --run runs/lfw                      # trains what is missing, prints the table
    python -m facelearn.real_faces claims --run runs/lfw               # what chapters conclude, asked on photographs
    python -m facelearn.real_faces exam --pairs FILE --images FILE     # a frozen configuration on people never seen

`course/en/real_faces.md` has protocol and results. `linear_heads` is the small version for a chapter, seconds per loss.
Needs scikit-image: `pip install "facelearn[real]"`.
"""

from facelearn.real_faces.exam import Configuration, take_exam
from facelearn.real_faces.experiment import Settings, compare_lfw
from facelearn.real_faces.heads import lbp_features, linear_heads
from facelearn.real_faces.joint_bayesian import JointBayesian
from facelearn.real_faces.rotation import Faces, load

__all__ = [
    "Configuration",
    "Faces",
    "JointBayesian",
    "Settings",
    "compare_lfw",
    "lbp_features",
    "linear_heads",
    "load",
    "take_exam",
]
