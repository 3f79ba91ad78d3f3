package mtlscache_test

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// One cache serves all callers, as the transport of a client.
func Example() {
	cache, err := mtlscache.New(mtlscache.Config{
		CertFile:        "certs/client.pem",
		KeyFile:         "certs/client.key",
		MaxConnsPerHost: 64, // the number of concurrent calls
	})
	if broken, ok := errors.AsType[*mtlscache.KeyPairError](err); ok {
		fmt.Println(broken)
		return
	}
	client := &http.Client{Transport: cache}
	defer client.CloseIdleConnections()
	// Output: reading credentials "certs/client.pem": stat: no such file or directory
}
