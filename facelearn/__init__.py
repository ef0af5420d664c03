"""facelearn: the loss functions of face recognition, small enough to read, exact enough to trust.

`facelearn.losses` holds the losses, one file each; `facelearn.data` a world of faces that belongs to nobody;
`facelearn.training.fit` is one readable loop, `facelearn.verification.evaluate_pairs` says what it was worth.
"""

__version__ = "0.1.0"
