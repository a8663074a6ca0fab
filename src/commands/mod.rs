//! The command line: one file per verb. Arguments in, one call into a stage, results to stdout, all else to stderr.
