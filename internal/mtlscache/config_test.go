package mtlscache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	pair := mtlscache.Config{CertFile: "c", KeyFile: "k"}
	with := func(change func(*mtlscache.Config)) mtlscache.Config {
		cfg := pair
		change(&cfg)
		return cfg
	}
	for _, tc := range []struct {
		name string
		cfg  mtlscache.Config
		want []string
	}{
		{"nothing", mtlscache.Config{}, []string{"CertFile and KeyFile, or PKCS12File, must be set"}},
		{"no key", mtlscache.Config{CertFile: "c"}, []string{"KeyFile must be set", `"c"`}},
		{"no certificate", mtlscache.Config{KeyFile: "k"}, []string{"CertFile must be set", `"k"`}},
		{"two forms", with(func(c *mtlscache.Config) { c.PKCS12File = "p" }), []string{"PKCS12File must not", `"p"`, `"c"`, `"k"`}},
		{"password for PEM", with(func(c *mtlscache.Config) { c.PKCS12PasswordFile = "w" }), []string{"PKCS12PasswordFile", `"w"`}},
		{"password without a key", mtlscache.Config{PKCS12File: "p", KeyPasswordFile: "w"}, []string{"KeyPasswordFile must not be set without KeyFile", `"w"`}},
		{"more idle than open", with(func(c *mtlscache.Config) { c.MaxConnsPerHost, c.MaxIdleConns = 8, 9 }), []string{"MaxIdleConns", "9 !<= 8"}},
		{"negative", with(func(c *mtlscache.Config) { c.MaxConnsPerHost, c.MaxIdleConns = -1, -2 }), []string{"MaxConnsPerHost", "-1 !>= 0", "MaxIdleConns", "-2 !>= 0"}},
		{"negative time", with(func(c *mtlscache.Config) { c.DialTimeout = -time.Second }), []string{"DialTimeout", "-1s !>= 0s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := mtlscache.New(tc.cfg)
			if err == nil || credentials(err) {
				t.Fatalf("New = %v, want an error of the configuration", err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("New = %q, lacks %q", err, part)
				}
			}
		})
	}
}
