"""Second moments of MLP keys: collect, store, solve."""

from lens_rome.moments.by_layer import SecondMoments as SecondMoments
from lens_rome.moments.check import moment_for as moment_for
from lens_rome.moments.collect import collect_moments as collect_moments
from lens_rome.moments.collect import collect_share as collect_share
from lens_rome.moments.fitter import MomentFitter as MomentFitter
from lens_rome.moments.moment import MomentOrigin as MomentOrigin
from lens_rome.moments.moment import SecondMoment as SecondMoment
from lens_rome.moments.share import merge_moments as merge_moments
