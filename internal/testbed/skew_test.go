package testbed

import (
	"bytes"
	"testing"
)

// The clock of this toolchain's standard library can be made wrong. The scenario clocks
// of chaos checks that the clock then is wrong, because building it takes half a minute.
func TestSkewNow(t *testing.T) {
	t.Parallel()
	_, source, err := packageTime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := skewNow(source)
	if err != nil {
		t.Fatal(err)
	}
	// Only the name of the function changed, once.
	if n := bytes.Count(got, []byte("= skewedNow()")); n != 1 || len(got) != len(source)-len("runtimeNow()")+len("skewedNow()") {
		t.Errorf("%d readings changed, the source has %d bytes of %d", n, len(got), len(source))
	}
	if _, err := skewNow([]byte("package time\n\nfunc Now() Time {\n\treturn now()\n}\n")); err == nil {
		t.Error("a clock that is read otherwise is no error")
	}
}
