"""The codec from Python: objects to hold, and a function for each job.

`Model`, `Encoder` and `Decoder` may be kept and used again; `encode`, `decode`, `decode_frames`, `probe` and
`list_models` are the short way. Models, and torch with them, are loaded only where one is needed.
"""

from imfcodec.api.decoder import Decoder
from imfcodec.api.encoder import Encoder
from imfcodec.api.joining import concat
from imfcodec.api.model import Model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.parts import Part
from imfcodec.api.places import Location
from imfcodec.api.short import decode, decode_frames, encode, list_models, probe, thumbnail
from imfcodec.api.stats import DecodeStats, EncodeStats, Notify
from imfcodec.api.trimming import trim
from imfcodec.frames import Clip, Frame, VideoFormat
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.coding import VideoCoding
from imfcodec.video.editing import Edits
from imfcodec.video.reader import RawSpec, SourceOptions

__all__ = [
    "DEFAULT_LIMITS",
    "Clip",
    "DecodeStats",
    "Decoder",
    "Edits",
    "EncodeOptions",
    "EncodeStats",
    "Encoder",
    "Frame",
    "Limits",
    "Location",
    "Model",
    "Notify",
    "Part",
    "RawSpec",
    "SourceOptions",
    "VideoCoding",
    "VideoFormat",
    "concat",
    "decode",
    "decode_frames",
    "encode",
    "list_models",
    "probe",
    "thumbnail",
    "trim",
]
