package gatewaytest_test

import (
	"fmt"
	"log"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// A gateway that approves orders after a second and loses the reply to the first
// enrollment. Afterwards it shows the enrollment that it accepted.
func Example() {
	gw, err := gatewaytest.Start(gatewaytest.Config{
		PendingFraction: 1,
		ApproveAfter:    time.Second,
		Faults:          []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLostReply, Times: 1}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()

	client, err := gw.Client()
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Get(gw.URL() + "/v1/certificate-authorities/" + gw.CAID())
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, gw.Stats().Enrolled)
	// Output: 200 OK 0
}
