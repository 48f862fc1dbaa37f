module facegcn

go 1.19

require (
	github.com/golang/protobuf v1.5.3
	google.golang.org/grpc v1.58.3
	google.golang.org/protobuf v1.31.0
)
