// Command neighbour is well behaved: it answers each line that it reads, allocates a
// little, and leaves when it is asked to.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGTERM)
	go func() {
		<-leave
		os.Exit(0)
	}()
	fmt.Println("start")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println("echo " + lines.Text())
	}
}
