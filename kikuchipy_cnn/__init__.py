# SPDX-License-Identifier: GPL-3.0-or-later

"""Space groups from single EBSD patterns with convolutional networks.

Importing this package adds
:func:`EBSD.classify_space_group() <kikuchipy_cnn.classify_space_group>`
to kikuchipy's EBSD signals.
"""

import lazy_loader

from kikuchipy_cnn._attachment import attach_when_imported

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

attach_when_imported()
