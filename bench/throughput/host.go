package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// hostCPU reads how long all cores of the host were busy so far, time stolen by other
// guests included, and how long they were there. It needs Linux.
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

// share is how much of the host was busy between two readings, less what ours took: 0 to 1.
func share(busy, all, ours time.Duration) float64 {
	return max(0, (busy-ours).Seconds()/max(all.Seconds(), 0.01))
}
