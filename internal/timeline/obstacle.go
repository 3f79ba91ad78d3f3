package timeline

import (
	"context"
	"time"
)

// ObstacleKind is the kind of an obstacle.
type ObstacleKind string

// The kinds of obstacles.
const (
	Breaker    ObstacleKind = "breaker"    // the fleet found the gateway broken
	Pause      ObstacleKind = "pause"      // the gateway asked for a pause
	Suspension ObstacleKind = "suspension" // an operator suspended calls
	NoWorker   ObstacleKind = "no worker"  // no worker of the fleet lives
	NoGateway  ObstacleKind = "no gateway" // no worker can call the gateway
)

// Obstacle is a condition of the whole fleet that delays orders. An empty Operation, CA,
// Producer or Lane means all of them.
type Obstacle struct {
	Kind ObstacleKind
	// Operation is that of a breaker: enroll, poll, revoke or lookup.
	Operation string
	CA        string
	Producer  string
	// Lane is that of a suspension: issue, revoke, manage or poll.
	Lane  string
	Since time.Time // zero: not known
	// Next is the time of the next canary or the end of a pause; zero: not known.
	Next time.Time
	// By is the operator of a suspension. Why is the cause or the reason. Both are
	// untrusted text.
	By, Why string
}

// Obstacles returns the current obstacles. It must be safe for concurrent use.
type Obstacles func(ctx context.Context) ([]Obstacle, error)
