package version

import (
	"runtime/debug"
	"testing"
)

func TestBuildIsFilled(t *testing.T) {
	t.Parallel()
	const hash = "0123456789abcdef0123456789abcdef01234567"
	vcs := func(version, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main:     debug.Module{Version: version},
			Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: hash}, {Key: "vcs.modified", Value: modified}},
		}
	}
	for _, tc := range []struct {
		name            string
		build           Build
		info            *debug.BuildInfo
		version, commit string
	}{
		{"nothing is known", Build{}, &debug.BuildInfo{}, "devel", ""},
		{"a build of a checkout", Build{}, vcs("(devel)", "false"), "devel-0123456789ab", hash},
		{"a build of a changed checkout", Build{}, vcs("(devel)", "true"), "devel-0123456789ab+changed", hash + "+changed"},
		{"go install of a tag", Build{}, &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3", ""},
		{"an image", Build{Version: "v1.2.3", Commit: "abc"}, &debug.BuildInfo{}, "v1.2.3", "abc"},
		{"an image without a version", Build{Commit: hash}, &debug.BuildInfo{}, "devel-0123456789ab", hash},
		{"the linker knows better", Build{Version: "v1.2.3", Commit: "abc"}, vcs("v9.9.9", "true"), "v1.2.3", "abc"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.build.fill(tc.info); got.Version != tc.version || got.Commit != tc.commit {
				t.Errorf("got %q and %q, want %q and %q", got.Version, got.Commit, tc.version, tc.commit)
			}
		})
	}
}
