"""facelearn: the loss functions of face recognition, small enough to read, exact enough to trust.

    from facelearn import losses                # the losses, one file each
    from facelearn.data import SyntheticFaces   # a world of faces that belongs to nobody
    from facelearn.training import fit          # one readable loop
    from facelearn.verification import evaluate_pairs
"""

__version__ = "0.1.0"
