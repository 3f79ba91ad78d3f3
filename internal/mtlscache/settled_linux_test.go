//go:build linux && (amd64 || arm64 || ppc64le || riscv64 || s390x)

package mtlscache

import (
	"errors"
	"testing"
)

// TestSettled changes files during the read.
func TestSettled(t *testing.T) {
	t.Parallel()
	var (
		a, b, c, d = marks{{ino: 1}}, marks{{ino: 2}}, marks{{ino: 3}}, marks{{ino: 4}}
		errRead    = errors.New("read")
		errStat    = errors.New("stat")
	)
	for _, tc := range []struct {
		name  string
		looks []marks // before the first read and after each read; then stat fails
		read  error
		want  marks
		err   error
		reads int
	}{
		{"quiet", []marks{a, a}, nil, a, nil, 1},
		{"changed once", []marks{a, b, b}, nil, b, nil, 2},
		{"changed twice", []marks{a, b, c, c}, nil, c, nil, 3},
		{"back and forth is a change", []marks{a, b, a, a}, nil, a, nil, 3},
		{"never quiet", []marks{a, b, c, d}, nil, marks{}, nil, 3}, // d was never read
		{"unreadable", []marks{a, a}, errRead, a, errRead, 1},
		{"unreadable because it was just replaced", []marks{a, b, c, d}, errRead, marks{}, nil, 3},
		{"missing", nil, nil, marks{}, errStat, 0},
		{"gone while read", []marks{a}, nil, marks{}, errStat, 1},
	} {
		looked, reads := 0, 0
		content, got, err := settled(func() (marks, error) {
			if looked == len(tc.looks) {
				return marks{}, errStat
			}
			looked++
			return tc.looks[looked-1], nil
		}, func() ([][]byte, error) {
			reads++
			return [][]byte{{byte(reads)}}, tc.read
		})
		if got != tc.want || !errors.Is(err, tc.err) || reads != tc.reads {
			t.Errorf("%s: marks %v, %v after %d readings; want %v, %v after %d", tc.name, got, err, reads, tc.want, tc.err, tc.reads)
		}
		if err == nil && got != (marks{}) && (len(content) != 1 || int(content[0][0]) != tc.reads) {
			t.Errorf("%s: content %v, want that of reading %d", tc.name, content, tc.reads)
		}
	}
}
