"""Causal tracing: locate the states that decide a fact."""

from lens_rome.tracing.full_length import restore_hooks as restore_hooks
from lens_rome.tracing.noise import CorruptSubject as CorruptSubject
from lens_rome.tracing.noise import GaussianNoise as GaussianNoise
from lens_rome.tracing.noise import draw_noise as draw_noise
from lens_rome.tracing.noise import subject_deviation as subject_deviation
from lens_rome.tracing.result import TraceResult as TraceResult
from lens_rome.tracing.result import TraceSettings as TraceSettings
from lens_rome.tracing.result import WeakTraceWarning as WeakTraceWarning
from lens_rome.tracing.trace import trace as trace
from lens_rome.tracing.window import window_layers as window_layers
