"""Short names of the array types that annotations are made of: ``Float[F64, "y x"]``."""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
B8 = NDArray[np.bool_]
Index = NDArray[np.intp]
