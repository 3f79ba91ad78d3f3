package gateway

import (
	"fmt"
	"testing"
)

func TestReadCAList(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"type":"CAListResponse","caList":[{"id":"a","name":"A"},{"id":"b"}]}`: "[a b]",
		`{"caList":[{"id":"a"}]}`:                           "[a]",
		`{"type":"CAListResponse","caList":[]}`:             "[]",
		`{"type":"CAListResponse","caList":[{"name":"A"}]}`: "[]",
		`{"type":"CAResponse","caList":[{"id":"a"}]}`:       "[]",
		`{"ca":{"id":"a"}}`:                                 "[]",
		`[{"id":"a"}]`:                                      "[]",
		`<html>`:                                            "[]",
	} {
		if got := ids(readCAList([]byte(body))); got != want {
			t.Errorf("%s lists %s, want %s", body, got, want)
		}
	}
}

func ids(all []ListedCA) string {
	list := make([]string, len(all))
	for i, ca := range all {
		list[i] = ca.ID
	}
	return fmt.Sprint(list)
}
