// Package entrustbus is the contract of the entrust-worker's bus: requests, results, their two encodings, the subjects
// and headers they travel with, and a client for producers.
package entrustbus
