// Probe is what hack/cluster/check runs in pods: a server that says who it is, and the few commands a check needs there, where
// an image from scratch has no shell.
//
//	probe serve            answers every request on :8080 with the host's name
//	probe get URL          prints the answer
//	probe lookup NAME      prints the addresses
//	probe read FILE        prints the content
//	probe write FILE TEXT
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func run(command string, arguments []string) error {
	switch {
	case command == "serve":
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(answer, name) })
		fmt.Println("serving")
		return http.ListenAndServe(":8080", nil)
	case command == "get" && len(arguments) == 1:
		client := http.Client{Timeout: 5 * time.Second}
		answer, err := client.Get(arguments[0])
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(os.Stdout, answer.Body)
		return err
	case command == "lookup" && len(arguments) == 1:
		addresses, err := net.LookupHost(arguments[0])
		fmt.Println(addresses)
		return err
	case command == "read" && len(arguments) == 1:
		content, err := os.ReadFile(arguments[0])
		fmt.Println(string(content))
		return err
	case command == "write" && len(arguments) == 2:
		return os.WriteFile(arguments[0], []byte(arguments[1]), 0o644)
	}
	return fmt.Errorf("unknown command %q with %d arguments", command, len(arguments))
}

func main() {
	command, arguments := "serve", []string(nil)
	if len(os.Args) > 1 {
		command, arguments = os.Args[1], os.Args[2:]
	}
	if err := run(command, arguments); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}
