package timeline

import (
	"context"
	"time"
)

// ObstacleKind is what kind of thing holds orders up.
type ObstacleKind string

// The kinds of obstacles.
const (
	Breaker    ObstacleKind = "breaker"    // the fleet found the gateway broken
	Pause      ObstacleKind = "pause"      // the gateway asked to be left alone
	Suspension ObstacleKind = "suspension" // an operator stopped work
	NoWorker   ObstacleKind = "no worker"  // no worker of the fleet lives
	NoGateway  ObstacleKind = "no gateway" // no worker can call the gateway
)

// Obstacle is something of the whole fleet that holds orders up. An empty Operation, CA,
// Producer or Lane means all of them.
type Obstacle struct {
	Kind ObstacleKind
	// Operation is enroll, poll, revoke or lookup, of a breaker.
	Operation string
	CA        string
	Producer  string
	// Lane is issue, revoke, manage or poll, of a suspension.
	Lane  string
	Since time.Time // zero: not known
	// Next is when the next canary may be sent, or a pause ends; zero: not known.
	Next time.Time
	// By is who ordered a suspension; Why is the cause or the reason. Both are untrusted text.
	By, Why string
}

// Obstacles reads what holds orders up now. It must be safe for concurrent use.
type Obstacles func(ctx context.Context) ([]Obstacle, error)
