"""Causal tracing: locate the states that decide a fact."""

from lens_rome.tracing.corruption import AbstractCorruption as AbstractCorruption
from lens_rome.tracing.corruption import CorruptSubject as CorruptSubject
from lens_rome.tracing.corruption import Target as Target
from lens_rome.tracing.full_length import restore_hooks as restore_hooks
from lens_rome.tracing.metrics import METRICS as METRICS
from lens_rome.tracing.noise import GaussianNoise as GaussianNoise
from lens_rome.tracing.noise import UniformNoise as UniformNoise
from lens_rome.tracing.noise import draw_noise as draw_noise
from lens_rome.tracing.noise import subject_deviation as subject_deviation
from lens_rome.tracing.parse import parse_corruption as parse_corruption
from lens_rome.tracing.replacement import MeanEmbeddings as MeanEmbeddings
from lens_rome.tracing.replacement import SwapSubject as SwapSubject
from lens_rome.tracing.replacement import ZeroEmbeddings as ZeroEmbeddings
from lens_rome.tracing.result import TraceResult as TraceResult
from lens_rome.tracing.result import TraceSettings as TraceSettings
from lens_rome.tracing.result import WeakTraceWarning as WeakTraceWarning
from lens_rome.tracing.statistics import EmbeddingStatistics as EmbeddingStatistics
from lens_rome.tracing.statistics import MultivariateNoise as MultivariateNoise
from lens_rome.tracing.statistics import StudentNoise as StudentNoise
from lens_rome.tracing.trace import trace as trace
from lens_rome.tracing.trace import trace_kinds as trace_kinds
from lens_rome.tracing.trace_set import TraceSet as TraceSet
from lens_rome.tracing.window import KINDS as KINDS
from lens_rome.tracing.window import window_layers as window_layers
