package main

import (
	"encoding/json"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// gatewayConfig configures the gateway child.
type gatewayConfig struct {
	Latency time.Duration
	HTTP1   bool
	Dir     string
}

// gatewayReady is the gateway child's first line.
type gatewayReady struct {
	URL, CAID, Profile  string
	Cert, Key, ServerCA string
}

// runGateway is the gateway child: the simulator in both dialects. It signs with P-256
// and verifies nothing, so that it is cheap.
func runGateway(arg string) error {
	var cfg gatewayConfig
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	gw, err := gatewaytest.Start(gatewaytest.Config{
		Dir: cfg.Dir, Dialect: gatewaytest.Both, SkipProof: true, AcceptUnknownSerials: true,
		Latency: cfg.Latency, HTTP1Only: cfg.HTTP1,
	})
	if err != nil {
		return err
	}
	defer gw.Close()
	return serveChild(gatewayReady{gw.URL(), gw.CAID(), gw.Profile(), gw.ClientCert(), gw.ClientKey(), gw.ServerCA()})
}
