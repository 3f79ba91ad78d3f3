package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// hostCPU reads the busy time of all cores of the host so far, including time stolen by
// other guests, and their total time. It needs Linux.
func hostCPU() (busy, all time.Duration, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	const idle, iowait, steal = 3, 4, 7
	for i, word := range strings.Fields(line)[1:] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || i > steal {
			break // guest time is part of user time
		}
		d := time.Duration(n) * time.Second / 100
		all += d
		if i != idle && i != iowait {
			busy += d
		}
	}
	if all == 0 {
		err = fmt.Errorf("reading /proc/stat: no CPU line")
	}
	return busy, all, err
}

// share returns the share of the host that others used between two readings, 0 to 1.
func share(busy, all, ours time.Duration) float64 {
	return max(0, (busy-ours).Seconds()/max(all.Seconds(), 0.01))
}
