from cascore.data.catalogue import load as load
from cascore.data.catalogue import load_image_splits as load_image_splits
from cascore.data.catalogue import load_images as load_images
from cascore.data.catalogue import load_points as load_points
from cascore.data.catalogue import names as names
from cascore.data.images import DATA_ROOT as DATA_ROOT
from cascore.data.images import ImageSet as ImageSet
from cascore.data.points import PointSet as PointSet
