// Package lab is what the benchmarks have in common: the worker and the NATS
// server as processes of their own, what a process costs, what the machine is,
// and how figures are printed.
package lab
