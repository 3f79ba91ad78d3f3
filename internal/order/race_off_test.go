//go:build !race

package order

const raced = false
