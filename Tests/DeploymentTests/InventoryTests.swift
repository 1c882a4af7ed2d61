import Deployment
import Testing
